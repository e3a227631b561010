package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/sandbox/server"
)

// protect keeps what this process knows to itself: no other process of the user
// may look into it, and it leaves no core.
func protect() error {
	if err := server.Protect(); err != nil {
		return err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("reading the limit on core files: %w", err)
	}
	limit.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("turning core files off: %w", err)
	}
	return nil
}
