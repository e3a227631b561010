package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/sampan-dev/sampan/internal/record"
)

// checkRecord refuses a record that cannot be one, before anything is made of it.
func (l Runner) checkRecord(task string) error {
	if l.RecordDir == "" {
		return nil
	}
	if err := (record.Task{Namespace: recordNamespace, UID: task}).Check(); err != nil {
		return fmt.Errorf("metadata.name: %w", err)
	}
	if l.SandboxSocket != "" {
		return nil
	}
	dir, err := resolve(l.RecordDir)
	if err != nil {
		return err
	}
	ws, err := resolve(l.Workspace)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(ws, dir); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("the record %s is in the workspace %s, where the tools of the task could change it; give another folder", l.RecordDir, l.Workspace)
	}
	return nil
}

// resolve gives a path without symlinks; what is not there yet has none.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	resolved, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path {
		return resolved, err
	}
	parent, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}
