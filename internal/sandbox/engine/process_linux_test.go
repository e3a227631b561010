package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// hang bounds what would otherwise never end.
const hang = 2 * time.Minute

func openEngine(t *testing.T, opts Options) *Engine {
	t.Helper()
	e, err := New(t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// output is what a Reader has got.
type output struct {
	streams [2]bytes.Buffer
	gaps    []Gap
	chunks  int
	end     int64
}

// rest reads to the end and closes it. Chunks must follow each other.
func (o *output) rest(t *testing.T, r *Reader) {
	t.Helper()
	defer r.Close()
	for {
		b, err := r.Next(t.Context(), hang)
		if err != nil || !b.Done && b.Gap == nil && len(b.Chunks) == 0 {
			t.Fatalf("Next: %+v, %v", b, err)
		}
		if b.Gap != nil {
			if b.Gap.From != o.end {
				t.Fatalf("a gap from %d, at %d", b.Gap.From, o.end)
			}
			o.gaps, o.end = append(o.gaps, *b.Gap), b.Gap.To
		}
		for _, c := range b.Chunks {
			if c.Position != o.end || len(c.Data) == 0 {
				t.Fatalf("a chunk of %d bytes at %d, at %d", len(c.Data), c.Position, o.end)
			}
			if len(o.gaps) == 0 && c.Offset != int64(o.streams[c.Stream].Len()) {
				t.Fatalf("offset %d of stream %d, which has %d bytes", c.Offset, c.Stream, o.streams[c.Stream].Len())
			}
			o.streams[c.Stream].Write(c.Data)
			o.end = c.End()
			o.chunks++
		}
		if b.Done {
			return
		}
	}
}

func startShell(t *testing.T, e *Engine, id, command string, change ...func(*StartRequest)) (*Process, *Reader) {
	t.Helper()
	req := StartRequest{Shell: command, TimeoutSeconds: hang.Seconds()}
	for _, f := range change {
		f(&req)
	}
	p, r, err := e.Start(t.Context(), id, req)
	if err != nil {
		t.Fatal(err)
	}
	return p, r
}

// TestFollow: who follows from the beginning misses nothing, however much it is.
func TestFollow(t *testing.T) {
	e := openEngine(t, Options{StreamBytes: 64 << 10})
	p, r := startShell(t, e, "a", "head -c 3000000 /dev/zero | tr '\\0' x; head -c 100000 /dev/zero | tr '\\0' y >&2; exit 3")
	var o output
	o.rest(t, r)
	if o.streams[Stdout].String() != strings.Repeat("x", 3000000) || o.streams[Stderr].String() != strings.Repeat("y", 100000) || len(o.gaps) > 0 {
		t.Errorf("%d and %d bytes, gaps %v", o.streams[Stdout].Len(), o.streams[Stderr].Len(), o.gaps)
	}
	if x := p.Exit(); x == nil || x.ExitCode == nil || *x.ExitCode != 3 || x.Killed || x.TimedOut || x.Duration <= 0 {
		t.Errorf("exit %+v", x)
	}
}

// TestResume: at any position, the rest follows without loss or repeat.
func TestResume(t *testing.T) {
	e := openEngine(t, Options{})
	_, r := startShell(t, e, "a", `for i in $(seq 300); do echo "out $i"; echo "err $i" >&2; done`)
	var whole output
	whole.rest(t, r)
	for after := int64(0); after <= whole.end; after += 7 {
		_, r, err := e.Follow("a", after)
		if err != nil {
			t.Fatal(err)
		}
		part := output{end: after, gaps: []Gap{{}}} // offsets are not counted from 0
		part.rest(t, r)
		for s := range part.streams {
			if !bytes.HasSuffix(whole.streams[s].Bytes(), part.streams[s].Bytes()) {
				t.Fatalf("after %d: %q is no end of the whole", after, part.streams[s].Bytes())
			}
		}
		if n := part.streams[0].Len() + part.streams[1].Len(); int64(n) != whole.end-after {
			t.Fatalf("after %d: %d bytes, want %d", after, n, whole.end-after)
		}
	}
	for _, after := range []int64{-1, whole.end + 1} {
		if _, _, err := e.Follow("a", after); !errors.Is(err, tool.ErrInvalid) {
			t.Errorf("after %d: %v", after, err)
		}
	}
}

// awaitOutput returns when so many bytes have come.
func awaitOutput(t *testing.T, l *outputLog, position int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	for {
		l.mu.Lock()
		got, changed := l.next, l.change()
		l.mu.Unlock()
		if got >= position {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%d bytes came, want %d", got, position)
		}
	}
}

// TestGap: what is gone is named to the byte.
func TestGap(t *testing.T) {
	e := openEngine(t, Options{StreamBytes: 10000})
	p, r := startShell(t, e, "a", `echo first >&2; read x; seq 100000 102000; read x; echo last >&2`, func(r *StartRequest) { r.StdinOpen = true })
	r.Close()
	// The streams are two pipes: what comes first in both is told by waiting for it.
	for _, position := range []int64{int64(len("first\n")), int64(len("first\n")) + 2001*int64(len("100000\n"))} {
		awaitOutput(t, p.log, position)
		if _, _, err := e.Feed(t.Context(), "a", strings.NewReader("go\n"), false); err != nil {
			t.Fatal(err)
		}
	}
	<-p.done
	_, r, err := e.Follow("a", 3)
	if err != nil {
		t.Fatal(err)
	}
	o := output{end: 3}
	o.rest(t, r)
	var want strings.Builder
	for i := 100000; i <= 102000; i++ {
		fmt.Fprintln(&want, i)
	}
	got := o.streams[Stdout].String()
	if len(o.gaps) != 1 || o.gaps[0].From != 3 || o.gaps[0].Offsets != [2]int64{int64(want.Len() - len(got)), 6} {
		t.Fatalf("gaps %+v, %d bytes of %d", o.gaps, len(got), want.Len())
	}
	if !strings.HasSuffix(want.String(), got) || len(got) < 5000 || o.streams[Stderr].String() != "last\n" {
		t.Errorf("after the gap: %d bytes and %q", len(got), o.streams[Stderr].String())
	}
	if lost := o.gaps[0].To - o.gaps[0].From; lost+int64(len(got))+5+3 != o.end {
		t.Errorf("%d lost, %d bytes and 8 others, %d in all", lost, len(got), o.end)
	}
}

// TestKept: however it was written, nearly a whole log of the last output is kept.
func TestKept(t *testing.T) {
	for _, size := range []int{1, 100, 7_000, 9_999, 100_000} {
		l := newOutputLog(10_000)
		for l.position() < 100_000 {
			_, _ = logWriter{l, Stdout}.Write(make([]byte, size)) // it takes all
		}
		l.finish()
		r, err := l.attach(0, func() {})
		if err != nil {
			t.Fatal(err)
		}
		var o output
		o.rest(t, r)
		if n := o.streams[Stdout].Len(); n < 7_000 || n > 10_000 || len(o.gaps) != 1 || o.gaps[0].To+int64(n) != l.position() {
			t.Errorf("by %d bytes: %d are kept, gaps %v", size, n, o.gaps)
		}
	}
}

// TestSlowReader: what a process that has ended left in its pipes is not lost to a
// reader that is far behind.
func TestSlowReader(t *testing.T) {
	l := newOutputLog(64 << 10)
	r, err := l.attach(0, func() {})
	if err != nil {
		t.Fatal(err)
	}
	const printed = 200_000
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = logWriter{l, Stdout}.Write(make([]byte, printed)) // it takes all
	}()
	l.hurry() // else it would wait for the reader
	<-done
	l.finish()
	var o output
	o.rest(t, r)
	if o.end != printed || len(o.gaps) > 0 {
		t.Errorf("%d bytes, gaps %v", o.end, o.gaps)
	}
}

func TestFeed(t *testing.T) {
	e := openEngine(t, Options{})
	p, r := startShell(t, e, "a", "sha256sum", func(r *StartRequest) { r.StdinOpen = true })
	sum := sha256.New()
	var sent int64
	for i := range 50 {
		part := bytes.Repeat([]byte{byte(i)}, 10000)
		sum.Write(part)
		taken, total, err := e.Feed(t.Context(), "a", bytes.NewReader(part), i == 49)
		if sent += taken; err != nil || taken != 10000 || total != sent {
			t.Fatalf("Feed: %d of %d, %v", taken, total, err)
		}
	}
	var o output
	o.rest(t, r)
	if got := o.streams[Stdout].String(); !strings.HasPrefix(got, fmt.Sprintf("%x ", sum.Sum(nil))) {
		t.Errorf("it has read %q", got)
	}
	<-p.done
	if _, _, err := e.Feed(t.Context(), "a", strings.NewReader("x"), false); !errors.Is(err, tool.ErrEnded) {
		t.Errorf("after its end: %v", err)
	}

	// One that does not read takes what a pipe holds, and says how much that is.
	_, r = startShell(t, e, "b", "sleep 1000", func(r *StartRequest) { r.StdinOpen = true })
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	src := &countdown{left: 64<<10 + 1, reached: cancel}
	taken, total, err := e.Feed(ctx, "b", src, false)
	if !errors.Is(err, context.Canceled) || taken != total || taken <= 0 || taken > 64<<10 {
		t.Errorf("Feed: %d of %d, %v", taken, total, err)
	}
}

// countdown gives bytes one by one and says when it has given all but the last.
type countdown struct {
	left    int
	reached func()
}

func (c *countdown) Read(p []byte) (int, error) {
	switch c.left--; {
	case c.left == 0:
		c.reached()
	case c.left < 0:
		return 0, io.EOF
	}
	return 1, nil
}

func TestTerminal(t *testing.T) {
	e := openEngine(t, Options{})
	p, r := startShell(t, e, "a", `test -t 0 && test -t 1 && test -t 2 && stty size; echo "$TERM${NO_COLOR-}"; read -r line; echo "got $line"; read -r line; stty size; sleep 1000`,
		func(r *StartRequest) { r.Window = &Window{Rows: 11, Columns: 33} })
	var seen bytes.Buffer
	await := func(want string) {
		t.Helper()
		for !strings.Contains(seen.String(), want) {
			b, err := r.Next(t.Context(), hang)
			if err != nil || len(b.Chunks) == 0 {
				t.Fatalf("%q, then %+v, %v, want %q", seen.String(), b, err, want)
			}
			for _, c := range b.Chunks {
				seen.Write(c.Data)
			}
		}
	}
	await("11 33\r\nxterm-256color\r\n")
	if _, _, err := e.Feed(t.Context(), "a", strings.NewReader("hello\n"), false); err != nil {
		t.Fatal(err)
	}
	await("got hello\r\n")
	if err := e.Resize("a", Window{Rows: 22, Columns: 44}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Feed(t.Context(), "a", strings.NewReader("\n"), false); err != nil {
		t.Fatal(err)
	}
	await("22 44\r\n")
	r.Close()
	if err := e.Kill(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if x := p.Exit(); x.Signal != "SIGKILL" || !x.Killed {
		t.Errorf("exit %+v", x)
	}

	p, r = startShell(t, e, "b", "cat; echo over", func(r *StartRequest) { r.Window = &Window{Rows: 1, Columns: 1} })
	if _, _, err := e.Feed(t.Context(), "b", strings.NewReader("line\n"), true); err != nil {
		t.Fatal(err)
	}
	var o output
	o.rest(t, r)
	if got := o.streams[Stdout].String(); !strings.HasSuffix(got, "over\r\n") {
		t.Errorf("after the end of its input: %q, %+v", got, p.Exit())
	}
}

// TestEnds: however it ends, all that it has started ends, and how is told exactly.
func TestEnds(t *testing.T) {
	const stubborn = `trap '' TERM; (setsid sh -c 'trap "" TERM HUP; echo up; sleep 1000' &); sleep 1000; sleep 1000`
	for name, tc := range map[string]struct {
		seconds float64
		end     func(*Engine) error
		want    Exit
	}{
		"deadline": {seconds: 0.5, end: func(*Engine) error { return nil }, want: Exit{Signal: "SIGKILL", TimedOut: true}},
		"kill":     {end: func(e *Engine) error { return e.Kill(t.Context(), "a") }, want: Exit{Signal: "SIGKILL", Killed: true}},
		"signal":   {end: func(e *Engine) error { return e.Signal("a", "SIGUSR1") }, want: Exit{Signal: "SIGUSR1"}},
		"stop all": {end: func(e *Engine) error { return e.StopAll(t.Context()) }, want: Exit{Signal: "SIGKILL", Killed: true}},
		"isolated": {end: func(e *Engine) error {
			_, err := e.Exec(t.Context(), tool.ExecRequest{Shell: "true", Isolated: true})
			return err
		}, want: Exit{Signal: "SIGKILL", Killed: true}},
	} {
		t.Run(name, func(t *testing.T) {
			e := openEngine(t, Options{})
			p, r := startShell(t, e, "a", stubborn, func(r *StartRequest) {
				if tc.seconds > 0 {
					r.TimeoutSeconds = tc.seconds
				}
			})
			b, err := r.Next(t.Context(), hang)
			if err != nil {
				t.Fatal(err)
			}
			if err := tc.end(e); err != nil {
				t.Fatal(err)
			}
			<-p.done
			x := p.Exit()
			if x == nil || x.ExitCode != nil || x.Killed != tc.want.Killed || x.TimedOut != tc.want.TimedOut {
				t.Errorf("exit %+v, want %+v", x, tc.want)
			}
			// On a slow machine the deadline may come before the trap.
			if up := len(b.Chunks) > 0; x.TimedOut && !up {
				r.Close()
			} else if o := (output{end: 3}); !up || x.Signal != tc.want.Signal || x.LeftoverKilled == 0 {
				t.Errorf("exit %+v, want %s and leftovers", x, tc.want.Signal)
				r.Close()
			} else {
				o.rest(t, r)
			}
			if !childless() {
				t.Error("something is left")
			}
			if err := e.Signal("a", "SIGTERM"); !errors.Is(err, tool.ErrEnded) {
				t.Errorf("a signal after its end: %v", err)
			}
		})
	}
}

// TestBounds: neither those that run, nor those who follow, nor what is kept grows
// without end.
func TestBounds(t *testing.T) {
	e := openEngine(t, Options{MaxRunning: 3, MaxReaders: 4, MaxEnded: 2})
	var readers []*Reader
	for i := range 3 {
		_, r := startShell(t, e, fmt.Sprint(i), "sleep 1000")
		readers = append(readers, r)
	}
	if _, _, err := e.Start(t.Context(), "3", StartRequest{Shell: "true"}); !errors.Is(err, tool.ErrTooMany) {
		t.Errorf("a fourth: %v", err)
	}
	if _, err := e.Exec(t.Context(), tool.ExecRequest{Shell: "true"}); !errors.Is(err, tool.ErrTooMany) {
		t.Errorf("a fourth that is waited for: %v", err)
	}
	if _, _, err := e.Start(t.Context(), "0", StartRequest{Shell: "true"}); !errors.Is(err, tool.ErrInvalid) {
		t.Errorf("the same id: %v", err)
	}
	_, r, err := e.Follow("0", 0)
	if err != nil {
		t.Fatal(err)
	}
	readers = append(readers, r)
	if _, _, err := e.Follow("0", 0); !errors.Is(err, tool.ErrTooMany) {
		t.Errorf("a fifth reader: %v", err)
	}
	for _, r := range readers {
		r.Close()
	}
	if n := e.Readers(); n != 0 {
		t.Errorf("%d readers are left", n)
	}
	if err := e.StopAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := e.Processes()
	if len(ended) != 2 {
		t.Fatalf("%d are kept, want 2", len(ended))
	}
	if err := e.Kill(t.Context(), ended[0].ID); err != nil {
		t.Errorf("dropping one that has ended: %v", err)
	}
	if _, err := e.Process(ended[0].ID); !errors.Is(err, tool.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	e.Forget()
	if n := len(e.Processes()); n != 0 {
		t.Errorf("%d are left", n)
	}
}
