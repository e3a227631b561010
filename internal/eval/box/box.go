// Package box runs commands where they see the programs of this machine, read-only, the
// folders that they are given, and nothing else of it: no home, no suite of evals, no
// outcomes. A box has processes, mounts and, where asked for, a network of its own (Linux
// namespaces), needs no privilege, and ends with all its processes.
package box

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// The hidden commands of agent-runner that a box is made by, in Command.
const (
	Command         = "box"
	SpawnCommand    = "spawn"
	EnterCommand    = "enter"
	ServeCommand    = "serve"
	ConfineCommand  = "confine"
	ConfinedCommand = "confined"
)

const (
	// user is who commands are in a box.
	user = 1000
	// program is where a box has agent-runner, and runDir the folder of its socket.
	program = "/run/agent-runner"
	runDir  = "/run/sampan"
	socket  = "sandbox.sock"
	home    = "/home/agent"
	// mountPoint is where the root of a box is put together, in its runDir outside.
	mountPoint = "root"

	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin"
)

// ConfineEnv is the environment variable with the words that tests put before a command
// of the agent's; see Confine.
const ConfineEnv = "SAMPAN_CONFINE"

// HiddenEnv is the environment variable with the names, between commas, of those that a
// command of the agent's does not get from the tests.
const HiddenEnv = "SAMPAN_CONFINE_HIDES"

// Confiner is the value of ConfineEnv in a box.
func Confiner() string { return program + " " + Command + " " + ConfineCommand + " --" }

// Mount is a folder of this machine that a box has.
type Mount struct {
	// Source is an absolute path here, Target one in the box.
	Source, Target string
	ReadOnly       bool
}

// Spec is what a box has.
type Spec struct {
	// Mounts come in this order.
	Mounts []Mount
	// Empty are folders that are new, writable, and end with the box.
	Empty []string
	// Workspace is the folder of the box that commands start in.
	Workspace string
	// Env is added to the environment of commands, as NAME=VALUE.
	Env []string
	// NoNetwork leaves nothing but a loopback interface.
	NoNetwork bool
}

// plan is what a box is made from inside of.
type plan struct {
	Spec
	// Run is the folder outside that has the socket, and the mount point of the root.
	Run string
	// Program is the executable of agent-runner.
	Program string
}

// environment is what the server and its commands have.
func (p plan) environment() []string {
	vars := map[string]string{"PATH": defaultPath, "HOME": home, "USER": "agent", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}
	for _, v := range p.Env {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value // the last one counts
	}
	var env []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, name+"="+vars[name])
	}
	return env
}

// Shown are the folders of programs and libraries.
func Shown() []string {
	return []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}
}

// configuration is what programs need of /etc, and is no secret.
func configuration() []string {
	// Of ssl and pki no more than this: beside certificates they have private keys.
	names := []string{"alternatives", "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
		"resolv.conf", "nsswitch.conf", "localtime", "services", "protocols", "mime.types"}
	for i, name := range names {
		names[i] = path.Join("/etc", name)
	}
	return names
}

// devices are harmless.
func devices() []string {
	return []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}
}
