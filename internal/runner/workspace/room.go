package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// roomTimeout bounds one command of git that asks no server.
	roomTimeout = 5 * time.Minute
	// maxTrackedList bounds the list of the files of a commit.
	maxTrackedList = 96 << 20
	// maxPatchFile bounds a file that a patch changes, on either side. git holds it in
	// memory several times, and what the runner's container may use is not much more.
	maxPatchFile = 16 << 20
)

// roomConfig is what git keeps to in a room: nothing is run, and memory is bounded. A
// file from a megabyte on counts as binary, which git then streams.
var roomConfig = []string{
	"-c", "core.bare=true", "-c", "core.hooksPath=/dev/null", "-c", "core.attributesFile=/dev/null", "-c", "core.fsmonitor=false",
	"-c", "core.bigFileThreshold=1m", "-c", "pack.threads=1", "-c", "pack.windowMemory=16m", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
}

// Room is a repository that only the runner has ever written to. It has no working
// tree: no file of an agent is anything but content there, and no attribute or ignore
// file of one is read.
type Room struct {
	repo  Repository
	local git
	// Base is the commit that the workspace was checked out at.
	Base string
}

// OpenRoom opens what Repository.Keep has kept in a folder; where that is another pod's,
// the commit is fetched again. Without a commit it is the one that was kept.
func OpenRoom(ctx context.Context, dir string, repo Repository, base string) (*Room, error) {
	env := append(gitEnv("none"), "GIT_DIR="+dir, "GIT_ATTR_NOSYSTEM=1", "GIT_NO_REPLACE_OBJECTS=1")
	r := &Room{repo: repo, Base: base, local: git{dir: dir, env: env, config: roomConfig}}
	if _, err := os.Stat(dir); err == nil {
		if r.Base == "" {
			r.Base = Head(ctx, dir)
		}
		if r.has(ctx) {
			return r, nil
		}
	}
	if !commitID.MatchString(r.Base) {
		return nil, errors.New("it is not known which commit was checked out")
	}
	if err := r.fetch(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return r, nil
}

func (r *Room) has(ctx context.Context) bool {
	return commitID.MatchString(r.Base) && r.git(ctx, nil, nil, "cat-file", "-e", r.Base+"^{commit}") == nil
}

// fetch makes the room anew.
func (r *Room) fetch(ctx context.Context) error {
	if err := errors.Join(os.RemoveAll(r.local.dir), os.MkdirAll(r.local.dir, 0o700)); err != nil {
		return err
	}
	if err := r.git(ctx, nil, nil, "init", "--quiet", "--bare", "--template="); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cloneTimeout)
	defer cancel()
	g, err := r.remote(r.repo.User, r.repo.Password)
	if err != nil {
		return err
	}
	args := []string{"fetch", "--quiet", "--progress", "--no-recurse-submodules", "--no-tags"}
	if r.repo.Depth > 0 {
		args = append(args, "--depth", strconv.Itoa(int(r.repo.Depth)))
	}
	if err := g.reach(ctx, append(args, "--", r.repo.URL, r.Base)...); err != nil {
		return g.failed(fmt.Sprintf("fetching %s of %s", r.Base, describe(r.repo.GitSource)), err, r.repo.Password)
	}
	return nil
}

// remote is the git that asks the server, for the room.
func (r *Room) remote(user, password string) (git, error) {
	u, err := ParseURL(r.repo.URL)
	if err != nil {
		return git{}, fmt.Errorf("the URL of the repository %w", err)
	}
	repo := r.repo
	repo.User, repo.Password = user, password
	g := newGit(repo, u, r.local.dir)
	g.env = append(g.env, "GIT_DIR="+r.local.dir, "GIT_NO_REPLACE_OBJECTS=1")
	g.config = slices.Concat(roomConfig, g.config)
	return g, nil
}

// git runs a command that asks no server.
func (r *Room) git(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, roomTimeout)
	defer cancel()
	return r.local.piped(ctx, stdin, stdout, args...)
}

// Tracked are the files of a commit.
type Tracked struct {
	paths []string
	// modules are the commits of submodules, by their paths.
	modules map[string]string
	// crlf are the files that a checkout gives other line ends than the commit has.
	crlf map[string]bool
}

// Has tells whether a file, or something in a folder, is tracked.
func (t *Tracked) Has(path string, folder bool) bool {
	if !folder {
		_, found := slices.BinarySearch(t.paths, path)
		return found
	}
	i, _ := slices.BinarySearch(t.paths, path+"/")
	return i < len(t.paths) && strings.HasPrefix(t.paths[i], path+"/")
}

// CRLF tells whether the lines of a file end with CR LF because it was checked out, while
// those of the commit end with LF.
func (t *Tracked) CRLF(path string) bool { return t.crlf[path] }

// Module gives the commit of a submodule, empty where there is none.
func (t *Tracked) Module(path string) string { return t.modules[path] }

// Tracked gives the files of the base.
func (r *Room) Tracked(ctx context.Context) (*Tracked, error) {
	list := head{max: maxTrackedList}
	err := r.git(ctx, nil, &list, "ls-tree", "-r", "-z", "--full-tree", r.Base)
	if err != nil {
		return nil, err
	}
	if list.buf.Len() >= maxTrackedList {
		return nil, errors.New("the commit that was checked out has too many files")
	}
	t, attributes := &Tracked{modules: map[string]string{}}, false
	for line := range bytes.SplitSeq(list.buf.Bytes(), []byte{0}) {
		what, path, found := strings.Cut(string(line), "\t")
		if !found {
			continue
		}
		t.paths = append(t.paths, path)
		attributes = attributes || path == ".gitattributes" || strings.HasSuffix(path, "/.gitattributes")
		if fields := strings.Fields(what); len(fields) == 3 && fields[1] == "commit" {
			t.modules[path] = fields[2]
		}
	}
	slices.Sort(t.paths)
	if !attributes {
		return t, nil
	}
	t.crlf, err = r.lineEnds(ctx)
	return t, err
}

// lineEnds gives the files of the base whose line ends the attributes in it change at a
// checkout. git reads those from an index, and from a working tree that has nothing.
func (r *Room) lineEnds(ctx context.Context) (map[string]bool, error) {
	empty, err := os.MkdirTemp("", "sampan-empty-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(empty) //nolint:errcheck // a folder of temporary files
	ctx, cancel := context.WithTimeout(ctx, roomTimeout)
	defer cancel()
	g := r.local
	g.env = append(slices.Clip(g.env), "GIT_INDEX_FILE="+filepath.Join(r.local.dir, "sampan.index"))
	if err := g.run(ctx, "read-tree", r.Base); err != nil {
		return nil, err
	}
	g.env, g.config = append(g.env, "GIT_WORK_TREE="+empty), append(slices.Clip(g.config), "-c", "core.bare=false")
	list := head{max: maxTrackedList}
	if err := g.into(ctx, &list, "ls-files", "--eol", "-z"); err != nil {
		return nil, err
	}
	crlf := map[string]bool{}
	for line := range bytes.SplitSeq(list.buf.Bytes(), []byte{0}) { // "i/lf w/ attr/text eol=crlf", a tab, the path
		what, path, _ := strings.Cut(string(line), "\t")
		if strings.HasPrefix(what, "i/lf") && strings.Contains(what, "eol=crlf") {
			crlf[path] = true
		}
	}
	return crlf, nil
}

// Diff writes how a commit differs from the base, as git apply reads it.
func (r *Room) Diff(ctx context.Context, commit string, w io.Writer) error {
	if err := r.patchable(ctx, commit); err != nil {
		return err
	}
	return r.git(ctx, nil, w, "diff-tree", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv",
		"--no-color", "--submodule=short", r.Base, commit)
}

// patchable makes sure that git has the memory for a patch.
func (r *Room) patchable(ctx context.Context, commit string) error {
	raw := head{max: maxTrackedList}
	if err := r.git(ctx, nil, &raw, "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", r.Base, commit); err != nil {
		return err
	}
	var asked bytes.Buffer
	var paths []string
	fields := strings.Split(raw.buf.String(), "\x00")
	for i := 0; i+1 < len(fields); i += 2 { // ":100644 100644 OLD NEW M", then the path
		modes := strings.Fields(strings.TrimPrefix(fields[i], ":"))
		if len(modes) != 5 {
			continue
		}
		for side := range 2 {
			if modes[side] != "000000" && modes[side] != "160000" {
				asked.WriteString(modes[2+side] + "\n")
				paths = append(paths, fields[i+1])
			}
		}
	}
	sizes := head{max: maxTrackedList}
	if err := r.git(ctx, &asked, &sizes, "cat-file", "--batch-check=%(objectsize)"); err != nil {
		return err
	}
	for i, line := range strings.Fields(sizes.buf.String()) {
		if n, err := strconv.ParseInt(line, 10, 64); err == nil && n > maxPatchFile && i < len(paths) {
			return fmt.Errorf("%q has %d bytes, and a patch may change files of at most %d: leave it out by .gitignore, and take it by a path", paths[i], n, maxPatchFile)
		}
	}
	return nil
}

// Changed tells whether a commit has other files than the base.
func (r *Room) Changed(ctx context.Context, commit string) (bool, error) {
	out := head{max: 256}
	if err := r.git(ctx, nil, &out, "rev-parse", r.Base+"^{tree}", commit+"^{tree}"); err != nil {
		return false, err
	}
	trees := strings.Fields(out.buf.String())
	if len(trees) != 2 {
		return false, fmt.Errorf("git rev-parse gives %q for two trees", out.buf.String())
	}
	return trees[0] != trees[1], nil
}
