package workspace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// CommitInfo is what a commit has besides its files. The same of it on the same files gives
// the same commit.
type CommitInfo struct {
	Name, Email string
	Time        time.Time
	Message     string
}

// errGitEnded is what who writes to git is told once it does not read any more.
var errGitEnded = errors.New("git has ended")

// Tree is where a commit's files are put, one after the other.
type Tree struct{ w *bufio.Writer }

// File puts a file, whose content of exactly size bytes it reads.
func (t *Tree) File(path string, executable bool, size int64, content io.Reader) error {
	mode := "100644"
	if executable {
		mode = "100755"
	}
	return t.blob(mode, path, size, content)
}

// Symlink puts a link.
func (t *Tree) Symlink(path, target string) error {
	return t.blob("120000", path, int64(len(target)), strings.NewReader(target))
}

// Module puts a submodule's commit.
func (t *Tree) Module(path, commit string) error {
	_, err := fmt.Fprintf(t.w, "M 160000 %s %s\n", commit, quoted(path))
	return err
}

func (t *Tree) blob(mode, path string, size int64, content io.Reader) error {
	if _, err := fmt.Fprintf(t.w, "M %s inline %s\ndata %d\n", mode, quoted(path), size); err != nil {
		return err
	}
	n, err := io.CopyN(t.w, content, size)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%q had %d bytes, and %d of them could be read: it was changed meanwhile", path, size, n)
	}
	if err == nil {
		err = t.w.WriteByte('\n')
	}
	return err
}

// quoted writes a path so that nothing in it means anything to git fast-import.
func quoted(path string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(path) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Snapshot makes a commit of the files that fill puts, and of no others, and gives its id.
// Where fill fails there is none.
func (r *Room) Snapshot(ctx context.Context, fill func(*Tree) error) (string, error) {
	in, out := io.Pipe()
	filled := make(chan error, 1)
	go func() {
		err := r.write(out, fill)
		out.CloseWithError(err) // git sees an end without "done", and fails
		filled <- err
	}()
	id := head{max: 128}
	err := r.git(ctx, in, &id, "fast-import", "--quiet", "--force", "--done", "--big-file-threshold=1m", "--date-format=raw")
	in.CloseWithError(errGitEnded)
	if fillErr := <-filled; fillErr != nil && !errors.Is(fillErr, errGitEnded) {
		err = fillErr
	}
	if err != nil {
		return "", err
	}
	return commitIn(id)
}

func (r *Room) write(out io.Writer, fill func(*Tree) error) error {
	t := &Tree{w: bufio.NewWriterSize(out, 64<<10)}
	_, err := fmt.Fprintf(t.w, "commit refs/sampan/snapshot\nmark :1\ncommitter Sampan <sampan> 0 +0000\ndata 0\nfrom %s\ndeleteall\n", r.Base)
	if err == nil {
		err = fill(t)
	}
	if err == nil {
		_, err = t.w.WriteString("\nget-mark :1\ndone\n")
	}
	if err == nil {
		err = t.w.Flush()
	}
	return err
}

// Commit makes a commit on the base with the files of a snapshot, and gives its id.
func (r *Room) Commit(ctx context.Context, snapshot string, info CommitInfo) (string, error) {
	g := r.local
	date := fmt.Sprintf("%d +0000", info.Time.Unix())
	g.env = append(slices.Clip(g.env),
		"GIT_AUTHOR_NAME="+info.Name, "GIT_AUTHOR_EMAIL="+info.Email, "GIT_AUTHOR_DATE="+date,
		"GIT_COMMITTER_NAME="+info.Name, "GIT_COMMITTER_EMAIL="+info.Email, "GIT_COMMITTER_DATE="+date)
	ctx, cancel := context.WithTimeout(ctx, roomTimeout)
	defer cancel()
	id := head{max: 128}
	message := strings.NewReader(strings.TrimRight(info.Message, "\n") + "\n")
	if err := g.piped(ctx, message, &id, "commit-tree", "-p", r.Base, snapshot+"^{tree}"); err != nil {
		return "", err
	}
	return commitIn(id)
}

func commitIn(out head) (string, error) {
	commit := strings.TrimSpace(out.buf.String())
	if !commitID.MatchString(commit) {
		return "", fmt.Errorf("git gives %q for a commit", commit)
	}
	return commit, nil
}
