package harness

import (
	"crypto/sha256"
	"hash"
	"io"
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

// fingerprint of a turn: its calls with their results. Results are part of it,
// so polling something that changes is no loop.
type fingerprint struct {
	h hash.Hash
	// took is how long its tools ran in all.
	took time.Duration
}

func newFingerprint() *fingerprint { return &fingerprint{h: sha256.New()} }

func (f *fingerprint) add(call llm.ToolCall, result string, took time.Duration) {
	f.took += took
	for _, s := range []string{call.Name, call.Arguments, result} {
		_, _ = io.WriteString(f.h, s)
		_, _ = f.h.Write([]byte{0xff}) // never part of UTF-8, so "ab"+"c" is not "a"+"bc"
	}
}

func (f *fingerprint) turn() loopTurn { return loopTurn{[sha256.Size]byte(f.h.Sum(nil)), f.took} }

// loopTurn is a turn as the detector compares it.
type loopTurn struct {
	sum  [sha256.Size]byte
	took time.Duration
}

// loopDetector sees turns that repeat.
type loopDetector struct {
	recent []loopTurn
	warned bool
}

// add takes a turn and gives how often the circle that it closes was gone round: 1
// for a turn that repeats nothing. Quick are rounds without any waiting, all those
// that were not waited for patiently.
func (d *loopDetector) add(turn loopTurn) (quick, all int) {
	d.recent = append(d.recent, turn)
	if keep := maxPeriod * (slowStop + 1); len(d.recent) > keep {
		d.recent = append(d.recent[:0], d.recent[1:]...)
	}
	for period := 1; period <= maxPeriod; period++ {
		quick = max(quick, d.rounds(period, waiting))
		all = max(all, d.rounds(period, patient))
	}
	return quick, all
}

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
func (r *run) checkLoop(turn loopTurn) error {
	quick, all := r.loops.add(turn)
	switch {
	case quick >= loopStop || all >= slowStop:
		return stopf(LoopDetected, "The model made the same calls with the same results %d times in a row.", all)
	case quick < loopNotice && all < slowNotice:
		r.loops.warned = false
	case !r.loops.warned:
		r.loops.warned = true
		if quick < loopNotice {
			return r.notice(transcript.NoticeLoop, slowText)
		}
		return r.notice(transcript.NoticeLoop, loopText)
	}
	return nil
}
