package engine

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

func newSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func signalName(s syscall.Signal) string {
	if n := unix.SignalName(s); n != "" {
		return n
	}
	return "SIG" + strconv.Itoa(int(s)) // a real-time signal
}
