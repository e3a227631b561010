package harness

import (
	"crypto/sha256"
	"hash"
	"io"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/llm"
	"github.com/sampan-dev/sampan/internal/harness/transcript"
)

const (
	// loopNotice repetitions bring a notice, loopStop of them the end.
	loopNotice = 3
	loopStop   = 6
	// maxPeriod is the longest circle that is seen: A, B, C, A, B, C, …
	maxPeriod = 3
	// waiting is what the tools of one round take at least where the model waits for
	// something: for CI, a rollout, a training. That is no loop, however often.
	waiting = time.Second
)

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

// add takes a turn and gives how often the circle that it closes was gone
// round: 1 for a turn that repeats nothing.
func (d *loopDetector) add(turn loopTurn) int {
	d.recent = append(d.recent, turn)
	if keep := maxPeriod * (loopStop + 1); len(d.recent) > keep {
		d.recent = append(d.recent[:0], d.recent[1:]...)
	}
	rounds := 1
	for period := 1; period <= maxPeriod; period++ {
		rounds = max(rounds, d.rounds(period))
	}
	return rounds
}

// rounds counts how often the last period turns came right before themselves,
// without any waiting in between.
func (d *loopDetector) rounds(period int) int {
	same, n := 0, len(d.recent)
	for i := n - 1; i-period >= 0 && d.recent[i].sum == d.recent[i-period].sum; i-- {
		var took time.Duration
		for _, turn := range d.recent[i-period+1 : i+1] {
			took += turn.took
		}
		if took >= waiting {
			break
		}
		same++
	}
	return 1 + same/period
}

// checkLoop warns the model about a loop, and ends the run when it goes on.
func (r *run) checkLoop(turn loopTurn) error {
	rounds := r.loops.add(turn)
	switch {
	case rounds < loopNotice:
		r.loops.warned = false
	case rounds >= loopStop:
		return stopf(LoopDetected, "The model made the same calls with the same results %d times in a row.", rounds)
	case !r.loops.warned:
		r.loops.warned = true
		return r.notice(transcript.NoticeLoop, loopText)
	}
	return nil
}
