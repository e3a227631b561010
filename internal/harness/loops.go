package harness

import (
	"crypto/sha256"
	"io"
	"slices"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

const (
	// loopNotice repetitions bring a notice, loopStop of them the end.
	loopNotice = 3
	loopStop   = 6
	// slowNotice and slowStop are the same where a round takes as long as waiting.
	slowNotice = 10
	slowStop   = 50
	// maxPeriod is the longest circle that is seen: A, B, C, A, B, C, …
	maxPeriod = 3
	// waiting is what the tools of one round take at least where the model may be
	// waiting for something, or runs a test over and over.
	waiting = time.Second
	// patient is what they take where it does wait: for CI, a rollout, a training.
	// That is no loop, however often.
	patient = 5 * time.Second
)

const slowText = "[harness] You made the same calls many times and got the same results. If you are waiting for something, " +
	"wait longer between two looks, with sleep 30 for instance. If not, repeating them will not change anything: try " +
	"something different, or, if you cannot go on, say what is in the way."

const loopText = "[harness] You are going around in circles: you made the same calls several times and got the same " +
	"results. Repeating them will not change anything. Try something different, or, if you cannot go on, " +
	"say what is in the way."

// loopTurn is a turn as the detector compares it: a fingerprint of its calls with
// their results, and how long its tools ran in all. Results are part of it, so
// polling something that changes is no loop.
type loopTurn struct {
	sum  [sha256.Size]byte
	took time.Duration
}

func turnOf(calls []llm.ToolCall, results []transcript.ToolResult) loopTurn {
	h := sha256.New()
	var took time.Duration
	for i, call := range calls {
		took += time.Duration(results[i].DurationMillis) * time.Millisecond
		for _, s := range []string{call.Name, call.Arguments, results[i].Content} {
			_, _ = io.WriteString(h, s)
			_, _ = h.Write([]byte{0xff}) // never part of UTF-8, so "ab"+"c" is not "a"+"bc"
		}
	}
	return loopTurn{[sha256.Size]byte(h.Sum(nil)), took}
}

// loopDetector sees turns that repeat.
type loopDetector struct {
	recent []loopTurn
	// quick and all say how often the circle that the last turn closed was gone
	// round: 1 for a turn that repeats nothing. Quick are rounds without any
	// waiting, all those that were not waited for patiently.
	quick, all int
	// warned is set once the model was told of the loop that it is in.
	warned bool
}

// after is the detector after one more turn.
func (d loopDetector) after(turn loopTurn) loopDetector {
	d.recent = append(slices.Clip(d.recent), turn)
	if over := len(d.recent) - maxPeriod*(slowStop+1); over > 0 {
		d.recent = d.recent[over:]
	}
	d.quick, d.all = 0, 0
	for period := 1; period <= maxPeriod; period++ {
		d.quick = max(d.quick, d.rounds(period, waiting))
		d.all = max(d.all, d.rounds(period, patient))
	}
	if !d.looping() {
		d.warned = false
	}
	return d
}

func (d *loopDetector) looping() bool { return d.quick >= loopNotice || d.all >= slowNotice }

// rounds counts how often the last period turns came right before themselves,
// without a round in between that took that long.
func (d *loopDetector) rounds(period int, long time.Duration) int {
	same, n := 0, len(d.recent)
	for i := n - 1; i-period >= 0 && d.recent[i].sum == d.recent[i-period].sum; i-- {
		var took time.Duration
		for _, turn := range d.recent[i-period+1 : i+1] {
			took += turn.took
		}
		if took >= long {
			break
		}
		same++
	}
	return 1 + same/period
}

// checkLoop warns the model about a loop, and ends the run when it goes on.
func (r *run) checkLoop() error {
	loops := r.log.state.loops
	switch {
	case loops.quick >= loopStop || loops.all >= slowStop:
		return stopf(LoopDetected, "The model made the same calls with the same results %d times in a row.", loops.all)
	case !loops.looping() || loops.warned:
		return nil
	case loops.quick < loopNotice:
		return r.log.notice(transcript.NoticeLoop, slowText)
	}
	return r.log.notice(transcript.NoticeLoop, loopText)
}
