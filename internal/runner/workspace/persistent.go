package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// checkoutFile is the marker, in podapi.RecordDir, that a persistent workspace
// was prepared. No tool runs before it is there.
const checkoutFile = "checkout.json"

// maxRecordBytes is far above a marker with the longest URL and ref that the API takes.
const maxRecordBytes = 64 << 10

// checkoutRecord is what the marker holds.
type checkoutRecord struct {
	URL string `json:"url,omitempty"`
	Ref string `json:"ref,omitempty"`
	// Commit is what was checked out.
	Commit string `json:"commit,omitempty"`
}

// Persistent is a workspace that outlives the pod.
type Persistent struct {
	// Dir is the workspace, RecordDir where its marker is, and PrivateDir where a
	// repository is checked out first.
	Dir, RecordDir, PrivateDir string
}

// Prepare checks the repository out if that was not done before, perhaps by an
// earlier pod. It reports whether no tool can have run yet.
func (w Persistent) Prepare(ctx context.Context, repo Repository) (preTool bool, err error) {
	src := repo.GitSource
	data, err := readRecord(filepath.Join(w.RecordDir, checkoutFile))
	if err == nil {
		return false, w.check(data, src)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("reading the record of the workspace: %w", err)
	}
	record := checkoutRecord{URL: src.URL, Ref: src.Ref}
	if src.URL != "" {
		err = checkoutPrivately(ctx, repo, w.PrivateDir, func() error {
			record.Commit = Head(ctx, w.PrivateDir)
			if err := Clear(w.Dir); err != nil {
				return err
			}
			return copyTree(ctx, w.PrivateDir, w.Dir)
		})
		if err != nil {
			return false, err
		}
	}
	if err := flush(w.Dir); err != nil {
		return false, fmt.Errorf("writing the workspace to its volume: %w", err)
	}
	if err := w.mark(record); err != nil {
		return false, fmt.Errorf("recording the checkout: %w", err)
	}
	return true, nil
}

// check refuses a volume that holds another repository: it was another
// Sandbox's before. One of the same repository may have been as well, and is taken
// as it is (docs/sandbox.md). A marker that cannot be read is one all the same; what tools
// have made is never thrown away for it.
func (w Persistent) check(data []byte, src v1alpha1.GitSource) error {
	var was checkoutRecord
	if json.Unmarshal(data, &was) != nil || (was.URL == src.URL && was.Ref == src.Ref) {
		return nil
	}
	return fmt.Errorf("the workspace's volume holds a checkout of %q, and the Sandbox asks for %q: it has been another Sandbox's; use a new volume, or empty it",
		describe(v1alpha1.GitSource{URL: was.URL, Ref: was.Ref}), describe(src))
}

// Base gives the commit that was checked out, perhaps by an earlier pod; empty where
// that is not known.
func (w Persistent) Base() string {
	data, err := readRecord(filepath.Join(w.RecordDir, checkoutFile))
	var was checkoutRecord
	if err != nil || json.Unmarshal(data, &was) != nil || !commitID.MatchString(was.Commit) {
		return ""
	}
	return was.Commit
}

// readRecord reads a marker. What is beyond its bound is not one of ours: cut, it
// cannot be read.
func readRecord(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	return io.ReadAll(io.LimitReader(f, maxRecordBytes))
}

// mark writes the marker: it is there as a whole or not at all, whatever happens
// to the node.
func (w Persistent) mark(record checkoutRecord) error {
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	path := filepath.Join(w.RecordDir, checkoutFile)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	dir, err := os.Open(w.RecordDir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Clear removes what a copy that was cut has left, through os.Root, so that
// nothing outside of the workspace goes with it.
func Clear(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a folder
	return removeNamed(root, dir)
}

// Head is the commit that is checked out; empty in a repository without any.
func Head(ctx context.Context, dir string) string {
	cmd := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "rev-parse", "--verify", "--quiet", "HEAD")
	cmd.Dir, cmd.Env = dir, gitEnv("none")
	out := head{max: 128}
	cmd.Stdout = &out
	if cmd.Run() != nil {
		return ""
	}
	return strings.TrimSpace(out.buf.String())
}
