package tree

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRemove(t *testing.T) {
	for name, fill := range map[string]func(t *testing.T, dir string){
		"empty": func(*testing.T, string) {},
		"deep": func(t *testing.T, dir string) { // longer than any path
			root, err := os.OpenRoot(dir)
			for i := 0; i < 40 && err == nil; i++ {
				part := strings.Repeat("d", 200)
				if err = root.Mkdir(part, 0o700); err == nil {
					below, openErr := root.OpenRoot(part)
					err = errors.Join(openErr, root.Close())
					root = below
				}
			}
			if err == nil {
				err = errors.Join(root.WriteFile("file", nil, 0o600), root.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"no rights": func(t *testing.T, dir string) {
			if err := errors.Join(os.MkdirAll(filepath.Join(dir, "a/b/moved-1"), 0o700), os.WriteFile(filepath.Join(dir, "moved-1"), nil, 0o600),
				os.Chmod(filepath.Join(dir, "a/b"), 0), os.Chmod(filepath.Join(dir, "a"), 0), os.Chmod(dir, 0)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			kept := filepath.Join(parent, "kept")
			dir := filepath.Join(parent, "dir")
			if err := errors.Join(os.MkdirAll(filepath.Join(kept, "file"), 0o700), os.Mkdir(dir, 0o700), os.Symlink(kept, filepath.Join(dir, "link"))); err != nil {
				t.Fatal(err)
			}
			fill(t, dir)
			if err := Remove(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left: %v", dir, err)
			}
			if _, err := os.Stat(filepath.Join(kept, "file")); err != nil {
				t.Error("a link was followed:", err)
			}
			if err := Remove(dir); err != nil {
				t.Error("what is not there:", err)
			}
		})
	}
}
