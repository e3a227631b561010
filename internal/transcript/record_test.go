package transcript

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// kept is a record in memory.
type kept struct {
	lines  bytes.Buffer
	firsts []int64
	err    error
}

func (k *kept) append(first int64, lines []byte) error {
	if k.err != nil {
		return k.err
	}
	k.firsts = append(k.firsts, first)
	k.lines.Write(lines)
	return nil
}

func appendAll(t *testing.T, w *Writer, data ...Data) {
	t.Helper()
	for i, d := range data {
		if _, err := w.Append(i, d); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSyncRecords(t *testing.T) {
	var rec kept
	var tee bytes.Buffer
	w := New(Options{Tee: &tee, Record: rec.append, Now: fixedNow})
	appendAll(t, w, RunStarted{Task: "t"}, Request{Model: "m"})
	if rec.lines.Len() > 0 {
		t.Error("something was recorded before Sync")
	}
	for range 2 { // the second has nothing to do
		if err := w.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	appendAll(t, w, Notice{Text: "n"})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{1, 3}, rec.firsts); diff != "" {
		t.Errorf("first events of what was recorded (-want +got):\n%s", diff)
	}
	if rec.lines.String() != tee.String() {
		t.Errorf("the record has\n%s, the tee\n%s", rec.lines.String(), tee.String())
	}
}

func TestContinue(t *testing.T) {
	var rec kept
	w := New(Options{Record: rec.append, Now: fixedNow})
	appendAll(t, w, RunStarted{Task: "t"}, RunEnded{Reason: "Cancelled"})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var tee bytes.Buffer
	events := 0
	w, err := Continue(strings.NewReader(rec.lines.String()), Options{Tee: &tee, Record: rec.append, Now: fixedNow}, func(Event) { events++ })
	if err != nil || events != 2 {
		t.Fatalf("Continue = %d events, %v", events, err)
	}
	appendAll(t, w, RunResumed{FromSeq: 2}, RunEnded{Reason: "Completed"})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := Verify(strings.NewReader(rec.lines.String()))
	if err != nil || report.Ended == nil || report.Ended.Reason != "Completed" {
		t.Errorf("Verify = %+v, %v", report, err)
	}
	if diff := cmp.Diff(w.Summary(), report.Summary); diff != "" {
		t.Errorf("summaries (-writer +reader):\n%s", diff)
	}
	if !strings.HasPrefix(tee.String(), `{"seq":3,`) {
		t.Errorf("the tee got %s", tee.String())
	}
	if diff := cmp.Diff([]int64{1, 3}, rec.firsts); diff != "" {
		t.Errorf("first events of what was recorded (-want +got):\n%s", diff)
	}
}

func TestContinueRefusesAPart(t *testing.T) {
	var rec kept
	w := New(Options{Record: rec.append, Now: fixedNow})
	appendAll(t, w, RunStarted{Task: "t"}, Notice{Text: "n"})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole := rec.lines.String()
	if _, err := Continue(strings.NewReader(whole[:len(whole)-3]), Options{}, func(Event) {}); !errors.Is(err, ErrCut) {
		t.Errorf("of a cut line: %v", err)
	}
	if _, err := Continue(strings.NewReader(whole[strings.Index(whole, "\n")+1:]), Options{}, func(Event) {}); err == nil {
		t.Error("a transcript without its beginning was continued")
	}
}

func TestARecordThatFailsIsFinal(t *testing.T) {
	cause := errors.New("full")
	rec := kept{err: cause}
	w := New(Options{Record: rec.append, Now: fixedNow})
	appendAll(t, w, RunStarted{Task: "t"})
	if err := w.Sync(); !errors.Is(err, cause) {
		t.Errorf("Sync = %v", err)
	}
	rec.err = nil
	if _, err := w.Append(1, Notice{}); !errors.Is(err, cause) {
		t.Errorf("Append = %v", err)
	}
	if len(rec.firsts) > 0 {
		t.Error("something was recorded after a failure")
	}
}

func TestLongEventsAreRecordedBeforeSync(t *testing.T) {
	var rec kept
	w := New(Options{Record: rec.append, Now: fixedNow})
	long := strings.Repeat("x", maxUnrecorded/4)
	for range 5 {
		appendAll(t, w, Notice{Text: long})
	}
	if rec.lines.Len() < maxUnrecorded {
		t.Errorf("%d bytes were recorded before Sync", rec.lines.Len())
	}
}
