package run

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/sampan-dev/sampan/internal/eval/box"
)

// CheckFolders refuses a suite, a folder of outcomes or a registry that boxes would show to
// agents, and outcomes in a task, whose digest they would change.
func (e Eval) CheckFolders(suite string) error {
	var bad []error
	for _, own := range []struct{ flag, path string }{{"the suite", suite}, {"--out", e.Out}, {"--registry", e.Registry}} {
		if own.path == "" {
			continue
		}
		path, err := resolved(own.path)
		if err != nil {
			return err
		}
		for _, shown := range slices.Concat(box.Shown(), e.Expose) {
			dir, err := resolved(shown)
			if err != nil {
				return err
			}
			if below(path, dir) {
				bad = append(bad, fmt.Errorf("%s is in %s, which agents are shown: %s; use another folder", own.flag, shown, path))
			}
		}
	}
	out, err := resolved(e.Out)
	if err != nil {
		return err
	}
	for _, t := range e.Tasks {
		dir, err := resolved(t.Dir)
		if err != nil {
			return err
		}
		if below(out, dir) {
			bad = append(bad, fmt.Errorf("--out is in the task %s: %s; use a folder outside of it", t.Name, out))
		}
	}
	return errors.Join(bad...)
}

// resolved is an absolute path without links, also of what is not there yet.
func resolved(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if to, err := filepath.EvalSymlinks(path); err == nil || path == filepath.Dir(path) {
		return to, err
	}
	parent, err := resolved(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

func below(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
