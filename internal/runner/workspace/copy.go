package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckoutBeside checks a repository out where only the runner is, and copies
// it into the workspace. What the sandbox container does in the workspace
// meanwhile, such as laying out hooks or links, git never sees.
func CheckoutBeside(ctx context.Context, repo Repository, private, workspace string) error {
	return checkoutPrivately(ctx, repo, private, func() error { return copyTree(ctx, private, workspace) })
}

// checkoutPrivately checks a repository out where only the runner is, lets take
// have it, and removes it.
func checkoutPrivately(ctx context.Context, repo Repository, private string, take func() error) error {
	if err := os.RemoveAll(private); err != nil {
		return err
	}
	if err := os.MkdirAll(private, 0o700); err != nil {
		return err
	}
	err := Checkout(ctx, repo, private)
	if err == nil {
		err = take()
	}
	if err == nil && repo.Keep != "" {
		err = errors.Join(os.RemoveAll(repo.Keep), os.Rename(filepath.Join(private, ".git"), repo.Keep))
	}
	return errors.Join(err, os.RemoveAll(private))
}

// copyTree copies a tree into an empty folder, through os.Root, so that nothing
// in the folder can lead a write out of it. Where it fails, what it has copied is
// removed again.
func copyTree(ctx context.Context, from, to string) error {
	if none, err := IsEmpty(to); err != nil || !none {
		return errors.Join(err, fmt.Errorf("the workspace %s is not empty", to))
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a folder
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		return copyEntry(root, rel, path, d)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("copying the checkout: %w", err), removeNamed(root, from))
	}
	return nil
}

// copyEntry copies one file, folder or link; a repository has nothing else.
func copyEntry(root *os.Root, rel, path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch {
	case d.IsDir():
		return root.Mkdir(rel, 0o755)
	case d.Type() == fs.ModeSymlink:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return root.Symlink(target, rel)
	case d.Type().IsRegular():
		return copyFile(root, rel, path, info.Mode().Perm())
	}
	return nil
}

func copyFile(root *os.Root, rel, path string, mode fs.FileMode) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	out, err := root.OpenFile(rel, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// removeNamed removes from the workspace whatever has its name in a folder: what a
// failed copy of that has put there.
func removeNamed(root *os.Root, from string) error {
	entries, err := os.ReadDir(from)
	for _, e := range entries {
		err = errors.Join(err, root.RemoveAll(e.Name()))
	}
	return err
}
