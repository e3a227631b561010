package harbor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Digest is "sha256:" and a digest of the names, the executable bits and the contents of all
// files of a folder. Anything but files and folders is an error.
func Digest(dir string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: a task has files and folders only, and no links", path)
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		own, err := fileDigest(path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(sum, "%q %t %s\n", filepath.ToSlash(rel), info.Mode()&0o111 != 0, own)
		return err
	})
	if err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Fill copies what the workdir of a task has in it to a new folder.
func (t Task) Fill(to string) error {
	for _, c := range t.Copies {
		from := filepath.Join(t.Dir, filepath.FromSlash(c.From))
		info, err := os.Stat(from)
		if err != nil {
			return err
		}
		target := filepath.Join(to, filepath.FromSlash(c.To))
		if !info.IsDir() {
			if err := copyFile(from, target, info.Mode()); err != nil {
				return err
			}
			continue
		}
		if err := t.copyTree(from, target); err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies a folder, without the Dockerfile of the environment.
func (t Task) copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if path == filepath.Join(t.Dir, filepath.FromSlash(dockerfile)) {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return copyFile(path, filepath.Join(to, rel), info.Mode())
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	perm := fs.FileMode(0o644)
	if mode&0o111 != 0 {
		perm = 0o755
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
