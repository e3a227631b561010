package runner

import (
	"path/filepath"

	"github.com/sampan-dev/sampan/internal/models"
)

// ScriptBeside finds a script on a laptop: relative to the registry's folder.
func ScriptBeside(registryFile string) func(models.Provider) string {
	return func(p models.Provider) string {
		file := p.Script.File
		if file == "" {
			// A registry that was written for a cluster: the ConfigMap's key is
			// looked for beside it.
			file = p.Script.Key
		}
		if filepath.IsAbs(file) {
			return file
		}
		return filepath.Join(filepath.Dir(registryFile), file)
	}
}
