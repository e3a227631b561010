package engine

import (
	"crypto/rand"
	"os"
	"path"
	"sync"
	"syscall"
)

// OutputDir is where long outputs are kept, in the workspace: there the model's
// own tools can read them, and a small disk is not filled behind its back.
const OutputDir = ".sampan/output"

// isOutput says that a file of the workspace holds a command's output.
func isOutput(rel string) bool { return path.Dir(rel) == OutputDir }

// maxSpillFiles bounds how many are kept.
const maxSpillFiles = 64

// spillDir makes files for outputs that are too long to be given back whole,
// and removes the oldest of them.
type spillDir struct {
	root           *os.Root
	each, together int64

	mu    sync.Mutex
	files []*spillFile // finished ones, oldest first
}

func newSpillDir(root *os.Root, each, together int64) *spillDir {
	return &spillDir{root: root, each: each, together: together}
}

// create makes a file of our own naming.
func (d *spillDir) create() (*spillFile, error) {
	if err := d.prepare(); err != nil {
		return nil, err
	}
	f, err := d.open(OutputDir + "/" + rand.Text()[:12] + ".log")
	if f != nil {
		f.ours, f.own = true, true
	}
	return f, err
}

// at makes, or empties, the file that a request names.
func (d *spillDir) at(name string) (*spillFile, error) {
	ours := isOutput(name)
	if ours {
		if err := d.prepare(); err != nil {
			return nil, mapError(name, err)
		}
	}
	f, err := d.open(name)
	if err != nil {
		return nil, mapError(name, err)
	}
	f.ours = ours
	return f, nil
}

func (d *spillDir) open(name string) (*spillFile, error) {
	// O_NONBLOCK: a FIFO planted under this name must not block us.
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = f.Close()
		return nil, syscall.ENXIO
	}
	return &spillFile{dir: d, name: name, f: f, left: d.each}, nil
}

// prepare makes the folder and hides it from git, whatever the repository's own rules.
func (d *spillDir) prepare() error {
	if err := d.root.MkdirAll(OutputDir, 0o755); err != nil {
		return err
	}
	ignore := path.Dir(OutputDir) + "/.gitignore"
	if _, err := d.root.Lstat(ignore); err == nil {
		return nil
	}
	return d.root.WriteFile(ignore, []byte("*\n"), 0o644)
}

// finished counts a file and removes old ones while there are too many.
func (d *spillDir) finished(f *spillFile) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files = append(d.files, f)
	var sum int64
	for _, f := range d.files {
		sum += f.size
	}
	for len(d.files) > 1 && (sum > d.together || len(d.files) > maxSpillFiles) {
		old := d.files[0]
		d.files = d.files[1:]
		sum -= old.size
		_ = d.root.Remove(old.name)
	}
}

// spillFile is one output's file. It is used under its capture's lock.
type spillFile struct {
	dir  *spillDir
	name string
	f    *os.File
	// ours are files in our folder, own those that no request has named.
	ours, own bool
	size      int64
	left      int64
	omitted   int64
}

func (s *spillFile) write(p []byte) {
	keep := p[:min(int64(len(p)), s.left)]
	if len(keep) > 0 {
		n, err := s.f.Write(keep)
		s.size += int64(n)
		s.left -= int64(n)
		if err != nil {
			s.left = 0 // a full disk: what is there stays, the rest is counted
		}
		s.omitted += int64(len(p) - n)
		return
	}
	s.omitted += int64(len(p))
}

// drop removes a file that nobody has been told of.
func (s *spillFile) drop() {
	_ = s.f.Close()
	_ = s.dir.root.Remove(s.name)
}

func (s *spillFile) close() error {
	err := s.f.Close()
	if s.ours {
		s.dir.finished(s)
	}
	return err
}
