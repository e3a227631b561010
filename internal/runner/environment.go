package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// Environment is that of this process, with its secrets taken out of it: /proc
// shows what a process was started with, and children inherit what is in it.
type Environment struct {
	// keys are the variables with the keys of models.
	keys []string
	mu   *sync.RWMutex
	// secrets are by the names of their variables.
	secrets map[string]string
}

// TakeSecrets reads the keys of a registry's models and git's passwords, and
// removes them from the environment.
func TakeSecrets(reg *models.Registry) Environment {
	_, names := secrets(reg, os.Getenv)
	e := Environment{keys: slices.Clone(names), mu: &sync.RWMutex{}, secrets: map[string]string{}}
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

// Reread reads the keys of models from a folder in which each is a file with the name of
// its variable, as they are now. Without the folder they stay as they are.
func (e Environment) Reread(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range e.keys {
		value, err := ReadBounded(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			delete(e.secrets, name)
		case err != nil:
			return fmt.Errorf("reading the key of a model: %w", err)
		default:
			e.secrets[name] = string(value)
		}
	}
	return nil
}

// Get reads a variable, also one that was taken.
func (e Environment) Get(name string) string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if value, taken := e.secrets[name]; taken {
		return value
	}
	return os.Getenv(name)
}

// Values are the secrets, which must never be written down.
func (e Environment) Values() []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var out []string
	for _, v := range e.secrets {
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}
