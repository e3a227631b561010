package engine

// RunIDEnv marks every command of one run, for its guard.
const RunIDEnv = "SAMPAN_RUN_ID"

// GuardDismissed is what a run writes to its guard when it ends in order. A run
// that is killed writes nothing.
const GuardDismissed = '.'

// Guarded is a run that has a guard.
type Guarded struct {
	// PID and Start, in ticks since boot, name its process.
	PID   int
	Start uint64
	// ID is the value of RunIDEnv of its commands.
	ID string
}
