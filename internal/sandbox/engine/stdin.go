package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// endOfText ends the input of who reads a line from a terminal.
const endOfText = "\x04"

// Feed gives a process some of its standard input, and its end. It returns how many
// bytes it has taken, now and in all; with an error, too. A process that does not read
// is waited for until ctx ends.
func (e *Engine) Feed(ctx context.Context, id string, src io.Reader, end bool) (taken, total int64, err error) {
	p, err := e.alive(id)
	if err != nil {
		return 0, 0, err
	}
	select {
	case p.feeding <- struct{}{}:
		defer func() { <-p.feeding }()
	case <-p.done:
	case <-ctx.Done():
		return 0, 0, context.Cause(ctx)
	}
	e.touch()
	p.mu.Lock()
	f, terminal, total := p.stdin, p.terminal, p.fed
	p.mu.Unlock()
	if f == nil {
		return 0, total, fmt.Errorf("the standard input of command %q: %w", id, tool.ErrEnded)
	}
	last := ""
	if end && terminal {
		last = endOfText
	}
	taken, err = p.feed(ctx, f, src, last)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fed += taken
	if err == nil && end && !terminal {
		p.stdin, err = nil, f.Close()
	}
	return taken, p.fed, err
}

// feed writes all of src, which it counts, and last.
func (p *Process) feed(ctx context.Context, f *os.File, src io.Reader, last string) (int64, error) {
	defer context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })()
	if err := f.SetWriteDeadline(time.Time{}); err != nil {
		return 0, fmt.Errorf("the standard input of command %q: %w", p.ID, tool.ErrEnded)
	}
	n, err := io.Copy(writerOnly{f}, src)
	if err == nil && last != "" {
		_, err = io.WriteString(f, last)
	}
	if ctx.Err() != nil {
		return n, context.Cause(ctx)
	}
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = fmt.Errorf("the standard input of command %q: %w", p.ID, tool.ErrEnded)
	}
	return n, err
}

// writerOnly keeps io.Copy from ways that count no bytes where they fail.
type writerOnly struct{ io.Writer }
