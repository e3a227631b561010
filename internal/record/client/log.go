package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/sampan-dev/sampan/internal/record/wire"
)

// Log implements record.Recorder. Where the answer is cut, it is asked for again from
// there; so the context has to live until the log is closed.
func (c *Client) Log(ctx context.Context, from int64) (io.ReadCloser, error) {
	return c.log(ctx, wire.Log, from)
}

func (c *Client) log(ctx context.Context, path string, from int64) (io.ReadCloser, error) {
	l := &log{client: c, ctx: ctx, path: path, next: from}
	if err := c.repeat(ctx, l.open); err != nil {
		return nil, fmt.Errorf("reading the log of the record: %w", err)
	}
	return l, nil
}

// log reads one, over as many answers as it takes. It is not safe for concurrent use.
type log struct {
	client *Client
	ctx    context.Context
	path   string
	// next is the number of the event at which an answer has to begin, and ahead are the
	// bytes of that line which were given already.
	next, ahead int64

	// body is that of an answer, whose context is answer.
	body   io.ReadCloser
	answer context.Context
	cancel context.CancelCauseFunc
	// late ends an answer that does not go on.
	late *time.Timer
	err  error
}

func (l *log) open() error {
	ctx, cancel := context.WithCancelCause(l.ctx)
	late := time.AfterFunc(requestDeadline, func() { cancel(errors.New("the log does not go on")) })
	r := request{method: http.MethodGet, path: l.path + "?" + wire.From + "=" + strconv.FormatInt(l.next, 10)}
	body, err := l.client.open(ctx, r)
	if err == nil {
		if _, err = io.CopyN(io.Discard, body, l.ahead); err != nil {
			err = errors.Join(l.broken(ctx, err), body.Close())
		}
	}
	late.Stop()
	if err != nil {
		cancel(nil)
		return err
	}
	l.body, l.answer, l.cancel, l.late = body, ctx, cancel, late
	return nil
}

// Read implements io.Reader.
func (l *log) Read(p []byte) (int, error) {
	if l.err != nil || len(p) == 0 {
		return 0, l.err
	}
	var n int
	l.err = l.client.repeat(l.ctx, func() (err error) {
		n, err = l.try(p)
		return err
	})
	return n, l.err
}

// try reads once. An answer that is cut is dropped: the next try has another.
func (l *log) try(p []byte) (int, error) {
	if l.body == nil {
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	l.late.Reset(requestDeadline)
	n, err := l.body.Read(p)
	l.late.Stop()
	l.count(p[:n])
	if err == nil {
		return n, nil
	}
	err = l.broken(l.answer, err)
	l.drop()
	var wait *waitError
	if n > 0 && errors.As(err, &wait) {
		return n, nil
	}
	return n, err
}

// broken is the error of an answer that has ended: io.EOF at the end of the log, one
// that is waited after if it was cut. An answer that ends within a line as if it were
// whole would do so again.
func (l *log) broken(ctx context.Context, err error) error {
	if !errors.Is(err, io.EOF) || ctx.Err() != nil { // a server that notices the end of ctx may end its answer well
		return unreachable(ctx, err)
	}
	if l.ahead > 0 {
		return fmt.Errorf("the log of the record ends within a line: %w", io.ErrUnexpectedEOF)
	}
	return io.EOF
}

// count keeps account of what was given.
func (l *log) count(p []byte) {
	if lines := bytes.Count(p, []byte{'\n'}); lines > 0 {
		l.next += int64(lines)
		l.ahead = 0
		p = p[bytes.LastIndexByte(p, '\n')+1:]
	}
	l.ahead += int64(len(p))
}

func (l *log) drop() {
	l.cancel(nil)
	_ = l.body.Close() // only read
	l.body = nil
}

// Close implements io.Closer.
func (l *log) Close() error {
	if l.body != nil {
		l.drop()
	}
	l.err = os.ErrClosed
	return nil
}
