package box

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Confine runs a command of a box where /tests, /logs, /solution and /tmp are empty and no
// process of the box is to be seen, and gives its exit code. Tests run with it what an agent
// has written, which then has no way to the reward, to the tests, or to the process that
// checks it.
func Confine(argv []string) (int, error) {
	cmd := child(program, append([]string{Command, ConfinedCommand, "--"}, argv...)...)
	cmd.Env = os.Environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	runtime.LockOSThread() // Pdeathsig is about the thread
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}

// Confined is the process that Confine starts; it becomes the command.
func Confined(argv []string) error {
	runtime.LockOSThread()
	cwd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("finding the working directory: %w", err)
	}
	m := &mounter{root: "/"}
	m.mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	for _, dir := range []string{"/tests", "/logs", "/solution", runDir} {
		if _, err := os.Stat(dir); err == nil {
			m.mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
		}
	}
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm", home} {
		m.mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
	}
	m.mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	// This process is still in what was there before: the way back leads to what is now.
	m.do("entering the working directory", func() error { return os.Chdir(cwd) })
	m.do("giving up privileges", dropPrivileges)
	if m.err != nil {
		return m.err
	}
	for _, name := range strings.Split(os.Getenv(HiddenEnv), ",") {
		if err := os.Unsetenv(name); name != "" && err != nil {
			return err
		}
	}
	if err := os.Unsetenv(HiddenEnv); err != nil {
		return err
	}
	for _, v := range []string{"HOME", "TMPDIR"} { // those of the tests are not to be seen
		if err := os.Setenv(v, "/tmp"); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("running %s: %w", path, unix.Exec(path, argv, os.Environ()))
}
