package deaths

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// treeOf says in a digest what is in a folder: names, modes, contents, and the times of
// files. Of a folder that vanishes meanwhile it says something else.
func treeOf(root string) string {
	sum := sha256.New()
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(sum, "%q %s", name, info.Mode())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(sum, " %d %x", info.ModTime().UnixNano(), sha256.Sum256(data))
		}
		_, _ = fmt.Fprintln(sum)
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil))
}

// wrongFinal says how a workspace is not what it should be in the end.
func wrongFinal(root string) string {
	for name, want := range content() {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
			return fmt.Sprintf("%s is %q, %v", name, got, err)
		}
	}
	return ""
}

// sizeOf is what the files of a folder have, in bytes.
func sizeOf(root string) (n int64) {
	_ = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n
}
