package recorded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// A transcript of 200 MB: outputs of 100 KB, of which a compaction leaves the last out
// of each 50 turns.
const (
	manyTurns   = 2000
	outputBytes = 100 << 10
	perWindow   = 50
)

// long writes the transcript as a run would.
func long(w *transcript.Writer) error {
	output := strings.Repeat("all of this was printed. ", outputBytes/25)
	var turn int
	write := func(data transcript.Data) error {
		_, err := w.Append(turn, data)
		return errors.Join(err, w.Sync())
	}
	err := write(&transcript.RunStarted{Task: "t", SystemPrompt: "s", Prompt: "p"})
	for turn = 1; turn <= manyTurns && err == nil; turn++ {
		call := llm.ToolCall{ID: fmt.Sprintf("call-%d", turn), Name: "bash", Arguments: "{}"}
		err = errors.Join(
			write(&transcript.Request{Model: "m"}),
			write(&transcript.Response{
				Model: "m", Kept: true, FinishReason: llm.FinishToolCalls,
				Message: llm.Message{Role: llm.RoleAssistant, ToolCalls: []llm.ToolCall{call}},
			}),
			write(&transcript.ToolCall{ID: call.ID, Name: call.Name, Arguments: call.Arguments}),
			write(&transcript.ToolResult{ID: call.ID, Name: call.Name, Content: fmt.Sprint(turn, output)}),
		)
		if turn%perWindow == 0 { // all but the last turn give way to a note
			last := 2 + 2*perWindow
			if turn > perWindow {
				last++ // the note
				last += 2
			}
			err = errors.Join(err, write(&transcript.Compaction{DropFrom: 2, DropTo: last - 2, Note: "n"}))
		}
	}
	return err
}

// longLog is a record with a transcript that is made while it is read, so that no test
// has it in memory. It looks at the memory in use now and then.
type longLog struct {
	record.Recorder
	written chan error
	most    uint64
	read    int64
}

func (*longLog) Latest(context.Context) (record.Checkpoint, error) {
	return record.Checkpoint{}, record.ErrNotFound
}

func (l *longLog) Log(context.Context, int64) (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() {
		err := long(transcript.New(transcript.Options{Tee: w}))
		l.written <- errors.Join(err, w.Close())
	}()
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r, l), r}, nil
}

// Write implements io.Writer, for what is read.
func (l *longLog) Write(p []byte) (int, error) {
	const every = 8 << 20
	if l.read/every != (l.read+int64(len(p)))/every {
		l.most = max(l.most, inUse())
	}
	l.read += int64(len(p))
	return len(p), nil
}

// inUse is what is left of the heap after a collection.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A run with a long past goes on with the memory that its conversation takes, and not
// with that of its transcript.
func TestALongPastTakesLittleMemory(t *testing.T) {
	rec := &longLog{written: make(chan error, 1)}
	before := inUse()
	j, err := Resume(t.Context(), rec, Listener{Kept: func(record.Checkpoint, string) {}, Resumed: func(harness.Progress) {}}, transcript.Options{})
	if err := errors.Join(err, <-rec.written); err != nil {
		t.Fatal(err)
	}
	if rec.read < 200e6 {
		t.Errorf("the transcript has %d bytes only", rec.read)
	}
	if got := j.Standing.Progress; got.Turns != manyTurns || got.ToolCalls != manyTurns {
		t.Errorf("the run has come to turn %d with %d calls", got.Turns, got.ToolCalls)
	}
	// 50 outputs are in the conversation at most, which is 5 MB.
	const bound = 48 << 20
	t.Logf("%d MB in use at most, %d MB at the end, of a transcript of %d MB", (rec.most-before)>>20, (inUse()-before)>>20, rec.read>>20)
	if rec.most > before+bound {
		t.Errorf("%d MB are in use while %d MB are read", (rec.most-before)>>20, rec.read>>20)
	}
	runtime.KeepAlive(j)
}
