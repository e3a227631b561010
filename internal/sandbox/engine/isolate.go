package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// isolateDeadline bounds the end of what ran before an exclusive request.
const isolateDeadline = 30 * time.Second

// Enter lets a request of any kind in. Its context ends when another request
// needs to be exclusive; while one is, Enter fails with tool.ErrIsolated.
func (e *Engine) Enter(ctx context.Context) (context.Context, func(), error) {
	return e.gate.enter(ctx)
}

// stopBackground refuses every new request, ends those that are there and every process
// that they started, and gives back how to let requests in again.
func (e *Engine) stopBackground(ctx context.Context) (reopen func(), err error) {
	deadline, cancel := context.WithTimeout(ctx, isolateDeadline)
	defer cancel()
	reopen, err = e.gate.close(deadline, func() { e.opts.BackgroundStopped(ctx) })
	if err != nil {
		return nil, err
	}
	if err := processes.sweepAll(deadline); err != nil {
		reopen()
		return nil, err
	}
	return reopen, nil
}

// StopAll implements tool.Executor.
func (e *Engine) StopAll(ctx context.Context) error {
	reopen, err := e.stopBackground(ctx)
	if err != nil {
		return err
	}
	reopen()
	return nil
}

// isolated runs a command with nothing beside it, from an environment that no
// earlier command could prepare, and leaves nothing of it running.
func (e *Engine) isolated(ctx context.Context, id string, req tool.ExecRequest) (res *tool.ExecResult, err error) {
	reopen, err := e.stopBackground(ctx)
	if err == nil {
		defer reopen()
		err = e.limits.unchanged()
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%w: %w", tool.ErrNotIsolated, err)
	}
	home, err := os.MkdirTemp("", "sampan-verify-")
	if err != nil {
		return nil, fmt.Errorf("making a home for the command: %w", mapError(os.TempDir(), err))
	}
	defer func() {
		left := removeAll(home)
		switch {
		case left == nil:
		case len(req.Files) > 0: // the next command would find them
			res, err = nil, errors.Join(err, fmt.Errorf("%w: removing the files of the command: %w", tool.ErrNotIsolated, left))
		default:
			e.opts.Log.Warn("Left a command's home behind", "folder", home, "error", left)
		}
	}()
	env := e.isolatedEnv(home)
	if len(req.Files) > 0 {
		dir, err := putFiles(home, req.Files)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", tool.ErrNotIsolated, err)
		}
		env = setEnv(env, FilesEnv+"="+dir)
	}
	x, err := e.prepare(id, req, env)
	if err != nil {
		return nil, err
	}
	res, err = e.execute(ctx, x)
	// Also where the command was cancelled: what it left would be beside the next one.
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), isolateDeadline)
	defer cancel()
	if swept := processes.sweepAll(deadline); swept != nil {
		return nil, errors.Join(err, fmt.Errorf("%w: %w", tool.ErrNotIsolated, swept))
	}
	return res, err
}

// FilesEnv names the folder with the files of an isolated command.
const FilesEnv = "VERIFY_FILES"

// putFiles writes files to a new folder in home, which nobody has seen yet.
func putFiles(home string, files map[string][]byte) (dir string, err error) {
	dir = filepath.Join(home, ".verify-files")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o500); err != nil {
			return "", fmt.Errorf("writing the file %q of the command: %w", name, err)
		}
	}
	return dir, os.Chmod(dir, 0o500)
}

// checkFiles refuses files that an isolated command cannot have.
func checkFiles(req tool.ExecRequest) error {
	if len(req.Files) > 0 && !req.Isolated {
		return fmt.Errorf("%w: only an isolated command can have files", tool.ErrInvalid)
	}
	for name := range req.Files {
		if name == "." || name == ".." || name == "" || strings.ContainsAny(name, "/\x00") {
			return fmt.Errorf("%w: %q is no name of a file", tool.ErrInvalid, name)
		}
	}
	return nil
}

// isolatedEnv is the server's own environment with a home and a folder for
// temporary files that are new, and a PATH without folders in which commands can
// put programs.
func (e *Engine) isolatedEnv(home string) []string {
	env := slices.Clone(e.env)
	env = setEnv(env, "PATH="+e.trustedPath())
	env = setEnv(env, "HOME="+home)
	env = setEnv(env, "TMPDIR="+home)
	// What a variable names in a place for programs' own files would lead back to it.
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "PYTHONUSERBASE"} {
		env = unsetEnv(env, name)
	}
	return env
}

// trustedPath is PATH without relative folders and those in the workspace, in the
// folder for temporary files and, in a container, in the home and wherever this user
// may write, as in a volume or in a root file system that is not read-only: all that
// tools may write to. On a laptop a home holds people's own tools, and nothing there
// keeps an agent from changing them.
func (e *Engine) trustedPath() string {
	writable := []string{e.workspace, os.TempDir(), "/tmp", "/var/tmp", "/dev/shm"}
	inContainer := os.Getpid() == 1
	if inContainer {
		writable = append(writable, getEnv(e.env, "HOME"))
	}
	var kept []string
	for _, dir := range filepath.SplitList(getEnv(e.env, "PATH")) {
		if !filepath.IsAbs(dir) || slices.ContainsFunc(writable, func(w string) bool { return within(dir, w) }) {
			continue
		}
		if inContainer && unix.Access(dir, unix.W_OK) == nil {
			continue
		}
		kept = append(kept, dir)
	}
	if len(kept) == 0 {
		return defaultPath
	}
	return strings.Join(kept, string(filepath.ListSeparator))
}

// within says whether a folder is another or below it, wherever links lead.
func within(dir, top string) bool {
	for _, d := range []string{filepath.Clean(dir), resolved(dir)} {
		for _, t := range []string{filepath.Clean(top), resolved(top)} {
			if rel, err := filepath.Rel(t, d); err == nil && filepath.IsLocal(rel) {
				return true
			}
		}
	}
	return false
}

func resolved(dir string) string {
	if target, err := filepath.EvalSymlinks(dir); err == nil {
		return target
	}
	return dir
}

// removeAll removes a tree in which folders may have been made read-only, as
// some package caches are.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return errors.Join(makeWritable(root), os.RemoveAll(dir))
}
