package deaths

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// check looks at what a run has left.
func (r *run) check() error {
	if left := marked(r.mark + "."); len(left) > 0 {
		r.fault(func(f *Faults) { f.LeftRunning += len(left) }, "the processes %v run on", left)
	}
	r.out.Stored = sizeOf(r.store())
	lines, err := r.transcript()
	if err != nil {
		return err
	}
	if rep, err := transcript.Verify(bytes.NewReader(lines)); err != nil {
		r.fault(func(f *Faults) { f.Broken++ }, "the transcript does not verify: %v", err)
	} else if rep.Cut {
		r.fault(func(f *Faults) { f.Broken++ }, "the transcript is cut after event %d", rep.Events)
	}
	events, _, err := transcript.ReadAll(bytes.NewReader(lines))
	if err != nil {
		r.fault(func(f *Faults) { f.Broken++ }, "the transcript cannot be read: %v", err)
		return nil
	}
	r.checkAcked(lines)
	return errors.Join(r.checkEvents(events), r.checkEffects(events))
}

func (r *run) transcript() (lines []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	store, err := record.Open(ctx, "file://"+r.store())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	log, err := store.Log(ctx, record.Task{Namespace: namespace, UID: taskUID}, 1)
	if err != nil {
		return nil, err
	}
	lines, err = io.ReadAll(log)
	return lines, errors.Join(err, log.Close())
}

// checkAcked looks for the lines that were acknowledged.
func (r *run) checkAcked(lines []byte) {
	all := bytes.SplitAfter(lines, []byte("\n"))
	for _, a := range r.acked {
		for i, line := range bytes.SplitAfter(bytes.TrimSuffix(a.lines, []byte("\n")), []byte("\n")) {
			at := int(a.first) - 1 + i
			if at >= len(all) || !bytes.Equal(bytes.TrimSuffix(all[at], []byte("\n")), bytes.TrimSuffix(line, []byte("\n"))) {
				r.fault(func(f *Faults) { f.LostEvents++ }, "event %d was acknowledged as %.80s", at+1, line)
			}
		}
	}
}

// checkEvents looks at charges and ends.
func (r *run) checkEvents(events []transcript.Event) error {
	if err := r.checkCharges(events); err != nil {
		return err
	}
	end, err := r.checkEnd(events)
	if err != nil {
		return err
	}
	for _, rep := range r.reports {
		if end == nil || rep.Reason != harness.End(end.Reason) || rep.Message != end.Message || rep.Transcript != r.reports[0].Transcript {
			r.fault(func(f *Faults) { f.FalseEnds++ }, "an end is told as %+v", rep)
		}
	}
	return nil
}

// checkEnd gives the end of the run: it comes last, after its proof, and once.
func (r *run) checkEnd(events []transcript.Event) (end *transcript.RunEnded, err error) {
	passed := 0
	for i, e := range events {
		data, err := e.Decode()
		if err != nil {
			return nil, err
		}
		switch d := data.(type) {
		case *transcript.Verification:
			passed = 0
			if d.Passed {
				passed = i
			}
		case *transcript.RunEnded:
			if end != nil && harness.End(end.Reason) != harness.SandboxLost {
				r.fault(func(f *Faults) { f.FalseEnds++ }, "the run ends as %s and then as %s", end.Reason, d.Reason)
			}
			if end = d; i == len(events)-1 && (harness.End(d.Reason) != harness.Completed || passed != i-1) {
				r.fault(func(f *Faults) { f.FalseEnds++ }, "the run ends as %s (%s), with a proof at event %d of %d", d.Reason, d.Message, passed+1, i)
			}
		}
	}
	if end == nil || events[len(events)-1].Type != transcript.TypeRunEnded {
		r.fault(func(f *Faults) { f.FalseEnds++ }, "the transcript has no end")
	}
	return end, nil
}

// checkCharges holds what the record charges against the calls that were made.
func (r *run) checkCharges(events []transcript.Event) error {
	var requests, charges, open int
	for _, e := range events {
		data, err := e.Decode()
		if err != nil {
			return err
		}
		switch d := data.(type) {
		case *transcript.Request:
			requests++
			open++
		case *transcript.Response:
			charges++
			open--
		case *transcript.Retry:
			if d.Usage != nil {
				charges++
			}
			open--
		}
		if open < 0 || open > 1 {
			r.fault(func(f *Faults) { f.ChargedTwice++ }, "event %d, a %s, belongs to no call", e.Seq, e.Type)
			open = max(0, min(open, 1))
		}
	}
	if charges > requests {
		r.fault(func(f *Faults) { f.ChargedTwice += charges - requests }, "%d calls were charged %d times", requests, charges)
	}
	if r.modelCalls > charges {
		r.fault(func(f *Faults) { f.NotCharged += r.modelCalls - charges }, "the model was called %d times and charged %d times", r.modelCalls, charges)
	}
	return nil
}

// checkEffects looks at what tools did outside of the workspace.
func (r *run) checkEffects(events []transcript.Event) error {
	data, err := os.ReadFile(r.effects())
	if err != nil {
		return err
	}
	calls := map[string]bool{}
	for _, e := range events {
		if e.Type != transcript.TypeToolCall {
			continue
		}
		data, err := e.Decode()
		if err != nil {
			return err
		}
		if _, after, ok := strings.Cut(data.(*transcript.ToolCall).Arguments, "echo "); ok {
			id, _, _ := strings.Cut(after, " ")
			calls[id] = true
		}
	}
	seen := map[string]bool{}
	for id := range strings.Lines(string(data)) {
		id = strings.TrimSpace(id)
		if seen[id] {
			r.fault(func(f *Faults) { f.Repeated++ }, "the call %s took effect twice", id)
		}
		if !calls[id] {
			r.fault(func(f *Faults) { f.Unrecorded++ }, "the call %s took effect and is not recorded", id)
		}
		seen[id] = true
	}
	return nil
}
