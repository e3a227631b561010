package engine

import (
	"fmt"
	"os"
)

// pipes connect a command with us: ours and theirs are the two ends of each.
type pipes struct{ ours, theirs []*os.File }

func (p *pipes) read() error {
	r, w, err := os.Pipe()
	return p.add(r, w, err)
}

func (p *pipes) write() error {
	r, w, err := os.Pipe()
	return p.add(w, r, err)
}

func (p *pipes) add(ours, theirs *os.File, err error) error {
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	p.ours, p.theirs = append(p.ours, ours), append(p.theirs, theirs)
	return nil
}

// close lets go of all ends that are still ours to close.
func (p *pipes) close() {
	for _, f := range append(p.theirs, p.ours...) {
		_ = f.Close()
	}
}
