package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Stamp is a digest of everything that decides what comes out of a build: the
// module's own files, among them go.sum, which stands for the content of every
// dependency, and the given settings. It reads a few hundred kilobytes.
func Stamp(source string, settings []string) (string, error) {
	digest := sha256.New()
	err := filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !isInput(entry.Name()) {
			return err
		}
		content, err := os.ReadFile(path) //nolint:gosec // of this checkout, which nobody else changes
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(digest, "%q %d\n", relative, len(content))
		_, _ = digest.Write(content)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("reading what %s is built from: %w", source, err)
	}
	_, _ = fmt.Fprintf(digest, "%q\n", settings)
	return hex.EncodeToString(digest.Sum(nil)), nil
}

func isInput(name string) bool {
	return name == "go.mod" || name == "go.sum" ||
		strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

// requiredVersion reads from a go.mod which version of a module it requires.
// Asking go instead would take a second for a module as large as Kubernetes.
func requiredVersion(goMod, module string) (string, error) {
	content, err := os.ReadFile(goMod)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module && strings.HasPrefix(fields[1], "v") {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", goMod, module)
}

// versionField is the i-th number of a version such as v1.36.3.
func versionField(version string, i int) string {
	fields := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if i >= len(fields) {
		return ""
	}
	return fields[i]
}
