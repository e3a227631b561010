package transcript

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/internal/text"
)

// maxBuffered bounds what Append keeps in memory before it writes by itself.
const maxBuffered = 1 << 20

// maxUnrecorded bounds what Append keeps for the record, beyond one event.
const maxUnrecorded = 8 << 20

// ErrInUse is returned for a transcript that another process writes.
var ErrInUse = errors.New("another process is writing this transcript")

// ErrClosed is returned by a Writer that was closed.
var ErrClosed = errors.New("transcript is closed")

// Options of a Writer.
type Options struct {
	// Tee gets the same bytes as the file, at the same time; it may be nil.
	Tee io.Writer
	// Record keeps whole lines where they outlive this machine; the first of them is
	// event number first. Sync returns once it has them. It may be nil.
	Record func(first int64, lines []byte) error
	// Secrets are values that must not appear in the transcript.
	Secrets []string
	// Now gives the time of events; nil is the wall clock.
	Now func() time.Time
}

// Summary says what has been written and, after Sync, is on disk.
type Summary struct {
	Events int64
	Bytes  int64
	// Digest is "sha256:" and the hex digest of all bytes.
	Digest string
}

// Writer appends events. It is safe for concurrent use. The first error is
// final: a transcript with a hole is worth less than one that stops.
type Writer struct {
	mu     sync.Mutex
	file   *os.File // nil when only the tee is written
	tee    io.Writer
	record func(first int64, lines []byte) error
	now    func() time.Time
	redact *Redactor

	buf bytes.Buffer // whole lines that are not written yet
	// unrecorded are lines that were written and that record does not have yet; the
	// events up to number recorded it has.
	unrecorded bytes.Buffer
	recorded   int64
	dirty      bool         // something was written that may not be on disk
	line       bytes.Buffer // the line being made, kept to reuse its memory
	seq        int64
	size       int64
	prev       string
	sum        hash.Hash
	err        error
	closed     bool
}

// New gives a Writer without a file: events go to the tee alone, if any.
func New(opts Options) *Writer {
	w := &Writer{tee: opts.Tee, record: opts.Record, now: opts.Now, redact: NewRedactor(opts.Secrets), sum: sha256.New()}
	if w.now == nil {
		w.now = wallClock
	}
	return w
}

// wallClock is the default of Options.Now.
func wallClock() time.Time { return time.Now() }

// Create begins a transcript in a new file, making its folder; a file that is
// there already is an error, since it is somebody's record.
func Create(path string, opts Options) (*Writer, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of transcript %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating transcript: %w", err)
	}
	if err := Lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("creating transcript %s: %w", path, err), f.Close())
	}
	w := New(opts)
	w.file = f
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, errors.Join(fmt.Errorf("creating transcript %s: %w", path, err), f.Close())
	}
	return w, nil
}

// Append adds one event for a turn. It is kept in memory until Sync: call that
// before anything that the event records takes effect. It gives the event's time.
func (w *Writer) Append(turn int, data Data) (time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return time.Time{}, err
	}
	now := w.now().UTC().Round(0) // as a reader has it, without the monotonic clock
	if err := w.encode(turn, now, data); err != nil {
		w.err = fmt.Errorf("encoding transcript event: %w", err)
		return time.Time{}, w.err
	}
	if w.buf.Len() <= maxBuffered {
		return now, nil
	}
	if err := w.flush(); err != nil || w.unrecorded.Len() < maxUnrecorded {
		return now, err
	}
	return now, w.commit()
}

// Flush hands what was appended to the system, without waiting for the disk, and to
// the record: it outlives this process, and the machine only by the record.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.commit()
}

// Sync writes what was appended and waits until it is on disk.
func (w *Writer) Sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	if w.file == nil || !w.dirty {
		return nil
	}
	if err := datasync(w.file); err != nil {
		w.err = fmt.Errorf("syncing transcript: %w", err)
	}
	w.dirty = false
	return w.err
}

// Summary counts all events so far. It is true of the disk after a Sync.
func (w *Writer) Summary() Summary {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Summary{Events: w.seq, Bytes: w.size, Digest: digest(w.sum)}
}

// Redact takes the configured secrets out of a text that goes elsewhere.
func (w *Writer) Redact(s string) string { return w.redact.String(s) }

// Path is the file's name, empty when there is none.
func (w *Writer) Path() string {
	if w.file == nil {
		return ""
	}
	return w.file.Name()
}

// Close syncs and closes the file.
func (w *Writer) Close() error {
	syncErr := w.Sync()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	if w.file == nil {
		return syncErr
	}
	return errors.Join(syncErr, w.file.Close())
}

func (w *Writer) usable() error {
	if w.closed {
		return ErrClosed
	}
	return w.err
}

// encode makes the line and adds it to the buffer.
func (w *Writer) encode(turn int, now time.Time, data Data) error {
	w.line.Reset()
	enc := json.NewEncoder(&w.line)
	enc.SetEscapeHTML(false) // shell commands stay readable
	if err := enc.Encode(data); err != nil {
		return err
	}
	body, err := w.redact.JSON(bytes.TrimSuffix(w.line.Bytes(), []byte("\n")))
	if err != nil {
		return err
	}
	head, err := json.Marshal(header{V: version(w.seq), Seq: w.seq + 1, Time: now, Turn: turn, Type: data.EventType()})
	if err != nil {
		return err
	}
	start := w.buf.Len()
	w.buf.Write(head[:len(head)-1])
	w.buf.WriteString(`,"data":`)
	w.buf.Write(text.EscapeJSON(body)) // a pod's log is read on terminals
	w.buf.WriteString(`,"prev":"`)
	w.buf.WriteString(w.prev)
	w.buf.WriteString("\"}")
	line := w.buf.Bytes()[start:]
	hashed := sha256.Sum256(line)
	w.prev = hex.EncodeToString(hashed[:])
	w.buf.WriteByte('\n')
	line = w.buf.Bytes()[start:]
	w.sum.Write(line)
	w.size += int64(len(line))
	w.seq++
	return nil
}

// header is an Event without what encode adds by hand: data is already JSON
// and would be parsed and copied again.
type header struct {
	V    int       `json:"v,omitempty"`
	Seq  int64     `json:"seq"`
	Time time.Time `json:"time"`
	Turn int       `json:"turn"`
	Type Type      `json:"type"`
}

func version(seq int64) int {
	if seq == 0 {
		return SchemaVersion
	}
	return 0
}

// flush hands the buffer to the file and the tee.
func (w *Writer) flush() error {
	data := w.buf.Bytes()
	if len(data) == 0 {
		return nil
	}
	w.dirty = true
	if w.file != nil {
		if _, err := w.file.Write(data); err != nil {
			w.err = fmt.Errorf("writing transcript: %w", err)
			return w.err
		}
	}
	if w.tee != nil {
		if _, err := w.tee.Write(data); err != nil {
			w.err = fmt.Errorf("copying transcript: %w", err)
			return w.err
		}
	}
	if w.record != nil {
		w.unrecorded.Write(data)
	}
	w.buf.Reset()
	if w.buf.Cap() > maxBuffered {
		w.buf = bytes.Buffer{} // one huge event must not stay in memory for good
	}
	if w.line.Cap() > maxBuffered {
		w.line = bytes.Buffer{}
	}
	return nil
}

// commit hands to the record what it does not have yet, and waits until it has it.
func (w *Writer) commit() error {
	if w.unrecorded.Len() == 0 {
		return nil
	}
	if err := w.record(w.recorded+1, w.unrecorded.Bytes()); err != nil {
		w.err = fmt.Errorf("recording the transcript: %w", err)
		return w.err
	}
	w.recorded = w.seq
	w.unrecorded.Reset()
	if w.unrecorded.Cap() > maxBuffered {
		w.unrecorded = bytes.Buffer{}
	}
	return nil
}

func digest(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// syncDir makes a new file's name last through a crash.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
