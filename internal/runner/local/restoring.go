package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/runner/snapshot"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
)

// restoring is the folder that a task's workspace is being restored in. The record has a
// note of it for as long as that lasts: what lies in the folder itself is no proof, since
// a repository or an agent may have put it there.
type restoring struct {
	Path   string `json:"path"`
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

func restoringIn(dir string) (restoring, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return restoring{}, err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return restoring{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return restoring{Path: path, Device: uint64(st.Dev), Inode: st.Ino}, nil //nolint:unconvert // other systems have other types
}

// restoreNote is the place of a note. The lock of the task is held by whoever uses it.
type restoreNote string

func (l Runner) restoreNote(task string) restoreNote {
	return restoreNote(filepath.Join(l.RecordDir, "restores", task))
}

// write notes that a folder is being restored in.
func (n restoreNote) write(dir string) error {
	at, err := restoringIn(dir)
	if err != nil {
		return err
	}
	data, err := json.Marshal(at)
	if err != nil {
		return err
	}
	path := string(n)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// names tells whether the note is of a folder.
func (n restoreNote) names(dir string) (bool, error) {
	data, err := os.ReadFile(string(n))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var noted restoring
	if err := json.Unmarshal(data, &noted); err != nil {
		return false, fmt.Errorf("%s: %w", string(n), err)
	}
	at, err := restoringIn(dir)
	return at == noted, err
}

// remove removes the note, if there is one.
func (n restoreNote) remove() error {
	if err := os.Remove(string(n)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// fresh tells whether the workspace has nothing, or nothing but what a restore of the task
// has left there whose process died.
func (l Runner) fresh(task string, p *place) (bool, error) {
	none, err := workspace.IsEmpty(l.Workspace)
	if err != nil || none || l.RecordDir == "" {
		return none, err
	}
	note := l.restoreNote(task)
	if !snapshot.Unfinished(l.Workspace) {
		return false, note.remove() // the restore had not begun
	}
	switch ours, err := note.names(l.Workspace); {
	case err != nil:
		return false, fmt.Errorf("reading what is being restored: %w", err)
	case !ours || !p.journal.Restores():
		return false, &runner.UsageError{Err: fmt.Errorf("%s has a .sampan-restore in it, as an unfinished restore leaves it, and the record in %s knows of none there; "+
			"give an empty folder, or remove that if the rest is whole", l.Workspace, l.RecordDir)}
	}
	return true, nil
}

// restore makes the workspace of the last checkpoint, if it may and there is one, and
// says whether it has.
func (l Runner) restore(ctx context.Context, task string, p *place, fresh bool) (done bool, err error) {
	base := func() string { return p.base }
	folders := recorded.Folders{Workspace: l.Workspace} // the home is the user's own
	switch {
	case fresh && p.journal.Restores():
		note := l.restoreNote(task)
		if err := note.write(l.Workspace); err != nil {
			return false, fmt.Errorf("noting what is being restored: %w", err)
		}
		p.keeper, p.restored, err = p.journal.Restore(ctx, folders, base)
		if !snapshot.Unfinished(l.Workspace) {
			err = errors.Join(err, note.remove())
		}
		return true, err
	case fresh:
		p.restored = p.journal.Anew()
	case p.journal.Begins() && p.journal.Past.Events() == 0:
		return false, &runner.UsageError{Err: fmt.Errorf("%s has something in it, and a task that goes on from another gets the workspace of that one; give an empty folder", l.Workspace)}
	}
	p.keeper = p.journal.Keeper(folders, base)
	return false, nil
}
