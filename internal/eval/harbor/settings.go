package harbor

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

const settingsFile = "task.toml"

// versions are the schemas that are known.
var versions = []string{"1.0", "1.1", "1.2", "1.3", "1.4"}

// rule takes a setting; an error refuses it.
type rule func(r *reader, s setting) error

// rules are those of the format's settings. A key that ends with ".*" is for all below it.
var rules = map[string]rule{
	"version":        takeVersion,
	"schema_version": takeVersion,
	"source":         noRule,
	"task.*":         noRule,
	"metadata.*":     takeMetadata,
	"artifacts":      noted("artifacts are not collected"),

	"agent.timeout_sec":         seconds(func(t *Task) *time.Duration { return &t.AgentTimeout }),
	"agent.user":                refused("the agent runs as one user, the same as the tests"),
	"agent.network_mode":        network(func(t *Task) []*bool { return []*bool{&t.AgentOffline} }),
	"agent.allowed_hosts":       refusedUnlessEmpty("a list of allowed hosts cannot be kept to here"),
	"verifier.timeout_sec":      seconds(func(t *Task) *time.Duration { return &t.VerifierTimeout }),
	"verifier.user":             refused("the tests run as one user, the same as the agent"),
	"verifier.env.*":            variable(func(t *Task) map[string]string { return t.VerifierEnv }),
	"verifier.network_mode":     network(func(t *Task) []*bool { return []*bool{&t.VerifierOffline} }),
	"verifier.allowed_hosts":    refusedUnlessEmpty("a list of allowed hosts cannot be kept to here"),
	"verifier.environment_mode": only("shared", "tests with an environment of their own cannot be run here"),
	"verifier.environment.*":    refused("tests with an environment of their own cannot be run here"),
	"verifier.collect":          refused("hooks of other services cannot be run here"),
	"verifier.service":          refused("there is one container, and no services"),
	"solution.env.*":            variable(func(t *Task) map[string]string { return t.SolutionEnv }),

	"environment.build_timeout_sec": noRule,
	"environment.docker_image":      refused("the content of an image is not there on this machine"),
	"environment.os":                only("linux", "only Linux is there"),
	"environment.cpus":              noted("the number of CPUs is not limited"),
	"environment.memory_mb":         noted("memory is not limited"),
	"environment.memory":            noted("memory is not limited"),
	"environment.storage_mb":        noted("storage is not limited"),
	"environment.storage":           noted("storage is not limited"),
	"environment.gpus":              refusedUnlessEmpty("no GPUs are given to a task"),
	"environment.gpu_types":         refusedUnlessEmpty("no GPUs are given to a task"),
	"environment.tpu.*":             refused("no TPUs are given to a task"),
	"environment.allow_internet":    internet,
	"environment.network_mode":      network(func(t *Task) []*bool { return []*bool{&t.AgentOffline, &t.VerifierOffline} }),
	"environment.allowed_hosts":     refusedUnlessEmpty("a list of allowed hosts cannot be kept to here"),
	"environment.env.*":             variable(func(t *Task) map[string]string { return t.Env }),
	"environment.mcp_servers":       refusedUnlessEmpty("there are no MCP servers"),
	"environment.skills_dir":        refused("there are no skills"),
	"environment.workdir":           takeWorkdir,
	"environment.healthcheck.*":     refused("there is no service to be waited for"),

	"steps":                      refused("tasks of several steps cannot be run here"),
	"multi_step_reward_strategy": refused("tasks of several steps cannot be run here"),
}

// settings reads task.toml.
func (r *reader) settings() {
	text, ok := r.read(settingsFile, true)
	if !ok {
		return
	}
	all, err := parse(text)
	if err != nil {
		line := 0
		var at *positionError
		if errors.As(err, &at) {
			line = at.line
		}
		r.refuse(settingsFile, line, "%v", err)
		return
	}
	// What a phase says counts more than what the environment says, wherever it is.
	slices.SortStableFunc(all, func(a, b setting) int { return phase(a.key) - phase(b.key) })
	for _, s := range all {
		take := ruleOf(s.key)
		if take == nil {
			r.note(settingsFile, s.line, "%s is not known, and has no effect", s.key)
			continue
		}
		if err := take(r, s); err != nil {
			r.refuse(settingsFile, s.line, "%s: %v", s.key, err)
		}
	}
}

func phase(key string) int {
	if strings.HasPrefix(key, "environment.") {
		return 0
	}
	return 1
}

func ruleOf(key string) rule {
	if take := rules[key]; take != nil {
		return take
	}
	for parent := path.Dir(strings.ReplaceAll(key, ".", "/")); parent != "."; parent = path.Dir(parent) {
		if take := rules[strings.ReplaceAll(parent, "/", ".")+".*"]; take != nil {
			return take
		}
	}
	return nil
}

func noRule(*reader, setting) error { return nil }

func refused(why string) rule {
	return func(*reader, setting) error { return errors.New(why) }
}

func noted(words string) rule {
	return func(r *reader, s setting) error {
		r.note(settingsFile, s.line, "%s: %s", s.key, words)
		return nil
	}
}

func refusedUnlessEmpty(why string) rule {
	return func(_ *reader, s setting) error {
		if list, ok := s.value.([]any); s.value == int64(0) || ok && len(list) == 0 {
			return nil
		}
		return errors.New(why)
	}
}

func only(want, why string) rule {
	return func(_ *reader, s setting) error {
		if s.value != want {
			return fmt.Errorf("it is %v: %s", s.value, why)
		}
		return nil
	}
}

func takeVersion(_ *reader, s setting) error {
	if v, ok := s.value.(string); !ok || !slices.Contains(versions, v) {
		return fmt.Errorf("it is %v; the versions that are known are %s", s.value, strings.Join(versions, ", "))
	}
	return nil
}

// takeMetadata reads metadata.programs, which is ours: programs that the task needs.
func takeMetadata(r *reader, s setting) error {
	if s.key != "metadata.programs" {
		return nil
	}
	list, ok := s.value.([]any)
	for _, v := range list {
		name, isText := v.(string)
		ok = ok && isText && name != "" && !strings.Contains(name, "/")
		r.task.Programs = append(r.task.Programs, name)
	}
	if !ok {
		return errors.New("want a list of names of programs")
	}
	return nil
}

func seconds(of func(*Task) *time.Duration) rule {
	return func(r *reader, s setting) error {
		var n float64
		switch v := s.value.(type) {
		case int64:
			n = float64(v)
		case float64:
			n = v
		}
		if !(n > 0) || n > 7*24*3600 {
			return fmt.Errorf("it is %v; want a number of seconds, more than 0 and at most a week", s.value)
		}
		*of(r.task) = time.Duration(math.Ceil(n)) * time.Second
		return nil
	}
}

func network(of func(*Task) []*bool) rule {
	return func(r *reader, s setting) error {
		offline := s.value == "no-network"
		if !offline && s.value != "public" {
			return fmt.Errorf("it is %v; only public and no-network can be kept to here", s.value)
		}
		for _, b := range of(r.task) {
			*b = offline
		}
		return nil
	}
}

func internet(r *reader, s setting) error {
	allowed, ok := s.value.(bool)
	if !ok {
		return fmt.Errorf("it is %v; want true or false", s.value)
	}
	r.task.AgentOffline, r.task.VerifierOffline = !allowed, !allowed
	return nil
}

func variable(of func(*Task) map[string]string) rule {
	return func(r *reader, s setting) error {
		value, ok := s.value.(string)
		switch {
		case !ok:
			return fmt.Errorf("it is %v; want a text", s.value)
		case strings.Contains(value, "${"):
			return errors.New("values of this machine's environment are not given to a task")
		}
		of(r.task)[s.key[strings.LastIndex(s.key, ".")+1:]] = value
		return nil
	}
}

func takeWorkdir(r *reader, s setting) error {
	dir, ok := s.value.(string)
	if !ok {
		return fmt.Errorf("it is %v; want a path", s.value)
	}
	return r.workdir(dir)
}

// taken are folders of a box that no workdir may hide or be below.
var taken = []string{"/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/logs", "/proc", "/run", "/sbin", "/solution", "/tests", "/tmp", "/usr", "/var"}

func (r *reader) workdir(dir string) error {
	clean := path.Clean(dir)
	if !path.IsAbs(dir) || clean == "/" || slices.ContainsFunc(taken, func(t string) bool { return clean == t || strings.HasPrefix(clean, t+"/") }) {
		return fmt.Errorf("the working directory cannot be %q here; want an absolute path such as %s", dir, DefaultWorkdir)
	}
	r.task.Workdir = clean
	return nil
}
