// Package deaths lets the processes of a recorded run die at every step of it, and checks
// what the next ones make of it. They are real processes, as in a pod: a runner, a
// sandbox server, and the server of the record, over TLS. Between them are proxies,
// which count what passes and pull the trigger.
package deaths

import (
	"time"
)

// Kind is what dies.
type Kind string

// The kinds of deaths. After each of them but that of the record's server the next pod
// gets a new workspace.
const (
	// Runner: the runner is killed; its sandbox goes on until the next pod has started.
	Runner Kind = "runner"
	// Sandbox: the sandbox's container is killed, the runner says so and ends.
	Sandbox Kind = "sandbox"
	// Pod: both are killed, and the workspace is gone.
	Pod Kind = "pod"
	// Record: the server of the record is killed and started again.
	Record Kind = "record"
	// Silent: the pod stops, the next one takes over, and then the first one goes on.
	Silent Kind = "silent"
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Runner, Sandbox, Pod, Record, Silent} }

// Timing is when, as seen from the step: a request that a server gets.
type Timing string

// The timings.
const (
	// Before: the request does not reach its server.
	Before Timing = "before"
	// During: the request is with its server.
	During Timing = "during"
	// After: it was done, and its answer does not arrive.
	After Timing = "after"
)

// Timings are all of them.
func Timings() []Timing { return []Timing{Before, During, After} }

// Plan says when to kill in one run: at step First and every so many steps from there, and
// each time once more soon after, while the next pod begins.
type Plan struct {
	Kind   Kind
	Timing Timing
	First  int
	// Every is 0 for one death.
	Every int
	// Files are further ones in the workspace. With them it is not compared, which takes
	// longer than what is measured then.
	Files int
}

func (p Plan) dies(step int) bool {
	if p.Every == 0 || step < p.First {
		return step == p.First
	}
	since := (step - p.First) % p.Every
	return since == 0 || since == 1+p.First%beginning
}

// beginning is about how many steps a pod takes to go on.
const beginning = 12

// Outcome is what became of a run.
type Outcome struct {
	Plan Plan
	// Deaths counts those that were met, by what the step was.
	Deaths map[string]int
	// Steps is how many requests were made in all.
	Steps int
	// Pods are those that it took, and Fenced those of them that lost the task to an
	// older one while they took over.
	Pods, Fenced int
	Took         time.Duration
	// Next is how long it took from the start of a runner that goes on to its first
	// model call, and Stored what the record has on disk in the end, in bytes.
	Next   []time.Duration
	Stored int64

	Faults
}

// Faults are what must not be. Each is 0.
type Faults struct {
	// LostEvents were acknowledged, and are not in the transcript, or not as they were.
	LostEvents int
	// WrongTrees are restores of something else than the last acknowledged checkpoint.
	WrongTrees int
	// ChargedTwice and NotCharged are calls of the model.
	ChargedTwice, NotCharged int
	// Repeated are effects of tools that came twice, and Unrecorded those that no
	// recorded call has.
	Repeated, Unrecorded int
	// FalseEnds are ends that are not proven, or differ.
	FalseEnds int
	// Broken is 1 where the transcript does not verify, WrongFinal where the workspace is
	// wrong in the end, and LeftRunning counts processes.
	Broken, WrongFinal, LeftRunning int
	// Words say what was found.
	Words []string
}

// OK says that there are none.
func (f *Faults) OK() bool { return len(f.Words) == 0 }

// Add adds others.
func (f *Faults) Add(o Faults) {
	f.LostEvents += o.LostEvents
	f.WrongTrees += o.WrongTrees
	f.ChargedTwice += o.ChargedTwice
	f.NotCharged += o.NotCharged
	f.Repeated += o.Repeated
	f.Unrecorded += o.Unrecorded
	f.FalseEnds += o.FalseEnds
	f.Broken += o.Broken
	f.WrongFinal += o.WrongFinal
	f.LeftRunning += o.LeftRunning
	f.Words = append(f.Words, o.Words...)
}
