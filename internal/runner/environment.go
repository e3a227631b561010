package runner

import (
	"maps"
	"os"
	"slices"

	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// Environment is that of this process, with its secrets taken out of it: /proc
// shows what a process was started with, and children inherit what is in it.
type Environment struct{ secrets map[string]string }

// TakeSecrets reads the keys of a registry's models and git's passwords, and
// removes them from the environment.
func TakeSecrets(reg *models.Registry) Environment {
	_, names := secrets(reg, os.Getenv)
	e := Environment{secrets: map[string]string{}}
	names = append(names, podapi.EnvGitPassword)
	for i := range podapi.MaxOutputs {
		names = append(names, podapi.PushPassword(i))
	}
	for _, name := range names {
		if value, set := os.LookupEnv(name); set {
			e.secrets[name] = value
			_ = os.Unsetenv(name) // fails for a bad name only, which cannot be set
		}
	}
	// Where the system does not let us, the process is still protected.
	_ = wipeEnviron(slices.Collect(maps.Keys(e.secrets)))
	return e
}

// Get reads a variable, also one that was taken.
func (e Environment) Get(name string) string {
	if value, taken := e.secrets[name]; taken {
		return value
	}
	return os.Getenv(name)
}

// Values are the secrets, which must never be written down.
func (e Environment) Values() []string {
	var out []string
	for _, v := range e.secrets {
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}
