package engine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// numLimits is how many resource limits Linux has (RLIM_NLIMITS, getrlimit(2)).
const numLimits = 16

// limits are this process's resource limits, which every command inherits. The
// kernel lets any process of the same user change them (prlimit), also those of
// a process that it may not trace.
type limits [numLimits]unix.Rlimit

func readLimits() (l limits) {
	for i := range l {
		_ = unix.Getrlimit(i, &l[i]) // one that is unknown here stays zero, and unchanged
	}
	return l
}

// unchanged fails where a command has changed a limit: the next one would not
// run as it was meant to.
func (l limits) unchanged() error {
	for i, now := range readLimits() {
		if now != l[i] {
			return fmt.Errorf("a command has changed a resource limit of the sandbox server (number %d of getrlimit(2))", i)
		}
	}
	return nil
}
