package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// execIDEnv marks every process of one command, also those that left its
// session and lost their parents.
const execIDEnv = "SAMPAN_EXEC_ID"

// quiet makes programs behave as with nobody at the keyboard: no pager, no
// prompt, no editor, no colour. A request's own environment goes before it.
var quiet = []string{
	"TERM=dumb", "NO_COLOR=1",
	"PAGER=cat", "GIT_PAGER=cat", "MANPAGER=cat", "SYSTEMD_PAGER=cat",
	"GIT_TERMINAL_PROMPT=0", "GIT_EDITOR=true", "GIT_MERGE_AUTOEDIT=no",
	"DEBIAN_FRONTEND=noninteractive", "PIP_NO_INPUT=1",
	"PYTHONUNBUFFERED=1", // so that what is printed before a timeout is seen
}

// terminalEnv is an environment for somebody at a terminal.
func terminalEnv(env []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return slices.Contains(quiet, kv) })
	return setEnv(env, "TERM=xterm-256color")
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// baseEnv is what every command starts from.
func baseEnv(given []string) []string {
	if given == nil {
		given = os.Environ()
	}
	var out []string
	for _, kv := range given {
		if !strings.HasPrefix(kv, execIDEnv+"=") {
			out = setEnv(out, kv)
		}
	}
	for _, kv := range quiet {
		out = setEnv(out, kv)
	}
	if getEnv(out, "PATH") == "" {
		out = setEnv(out, "PATH="+defaultPath)
	}
	// An image's user may have no home, or "/", which is read-only in a pod.
	if h := getEnv(out, "HOME"); h == "" || h == "/" {
		out = setEnv(out, "HOME=/tmp")
	}
	return out
}

func setEnv(env []string, kv string) []string {
	name, _, _ := strings.Cut(kv, "=")
	i := slices.IndexFunc(env, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	if i < 0 {
		return append(env, kv)
	}
	env[i] = kv
	return env
}

func unsetEnv(env []string, name string) []string {
	return slices.DeleteFunc(env, func(s string) bool { return strings.HasPrefix(s, name+"=") })
}

func getEnv(env []string, name string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// commandEnv is the environment of one command.
func commandEnv(base []string, req tool.ExecRequest, id, dir string) ([]string, error) {
	env := slices.Grow(slices.Clone(base), len(req.Env)+2)
	for k, v := range req.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.IndexByte(v, 0) >= 0 {
			return nil, fmt.Errorf("%w: environment variable %q", tool.ErrInvalid, k)
		}
		env = setEnv(env, k+"="+v)
	}
	env = setEnv(env, "PWD="+dir)
	return setEnv(env, execIDEnv+"="+id), nil
}

// ErrNoShell says that no command line can run.
var ErrNoShell = errors.New("there is neither bash nor sh")

func findShell(env []string) (string, error) {
	for _, name := range []string{"bash", "sh"} {
		if p, err := lookPath(name, "/", env); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%w in PATH %q", ErrNoShell, getEnv(env, "PATH"))
}

// lookPath finds a program with the command's own PATH, as a shell would.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	for _, d := range filepath.SplitList(getEnv(env, "PATH")) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		if p := filepath.Join(d, name); executable(p) == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: %w in PATH", name, tool.ErrNotFound)
}

func executable(p string) error {
	st, err := os.Stat(p)
	switch {
	case err != nil:
		return mapError(p, err)
	case st.IsDir():
		return fmt.Errorf("%s: %w", p, tool.ErrIsDirectory)
	case st.Mode()&0o111 == 0:
		return fmt.Errorf("%s: %w: it is not executable", p, tool.ErrPermission)
	}
	return nil
}
