package server

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// mayConnect says whether the other end of a connection can be the runner. In a
// container, where the server is the first process of a PID namespace, the runner
// is a process of another one, for which the kernel gives the number 0 (unix(7),
// SO_PEERCRED); tools, and what was started by `kubectl exec`, have a number here.
// Elsewhere peers cannot be told apart, and the owner's secret decides alone.
func mayConnect(c *net.UnixConn) bool {
	if os.Getpid() != 1 {
		return true
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	outside := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		outside = err == nil && cred.Pid == 0
	})
	return err == nil && outside
}
