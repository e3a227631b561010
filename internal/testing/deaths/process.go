package deaths

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience bounds each wait for something that should take no time.
const patience = 2 * time.Minute

// process is one of a run.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	// done is closed when it has ended.
	done chan struct{}
}

// markVariable is in the environment of all processes of a pod, with its mark as value.
const markVariable = "SAMPAN_DEATHS_POD"

// start starts this program as one of its parts.
func start(role string, s settings, mark string) (*process, error) {
	p, err := prepare(role, s, mark)
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout = &p.stdout
	return p, p.run()
}

func prepare(role string, s settings, mark string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(context.Background(), self, roleArgument, role, string(data)), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), markVariable+"="+mark)
	p.cmd.Stderr, p.cmd.WaitDelay = &p.stderr, time.Second // what it started may outlive it
	return p, nil
}

func (p *process) run() error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.done)
	}()
	return nil
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // one that has ended needs none

// wait waits for the end.
func (p *process) wait() error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.done:
		return nil
	case <-late.C:
		return fmt.Errorf("process %d does not end", p.cmd.Process.Pid)
	}
}

// marked are the processes that run with a mark that begins so, by what is in their
// environment: what they start has it, too. It takes root to see those that are protected.
func marked(mark string) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(data, []byte(markVariable+"="+mark)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// signalMarked sends a signal to all processes of a pod, until there is none that has not got
// it. It is what the kernel does to those of a container.
func signalMarked(mark string, s syscall.Signal) {
	got := map[int]bool{}
	for again := true; again; {
		again = false
		for _, pid := range marked(mark + "\x00") {
			if !got[pid] {
				got[pid], again = true, true
				_ = syscall.Kill(pid, s)
			}
		}
	}
}

// recordServer is the process of the record's server, of which there is one at a time.
type recordServer struct {
	settings settings
	mark     string

	mu      sync.Mutex
	process *process
	address string
}

func (r *recordServer) start() error {
	p, err := prepare("record", r.settings, r.mark)
	if err != nil {
		return err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	p.cmd.Stdout = in
	err = errors.Join(p.run(), in.Close())
	if err != nil {
		return errors.Join(err, out.Close())
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.signal(syscall.SIGKILL)
		return errors.Join(fmt.Errorf("the record's server did not start: %s", p.stderr.String()), out.Close())
	}
	r.process, r.address = p, strings.TrimSpace(line)
	return out.Close()
}

// restart kills it and starts another.
func (r *recordServer) restart() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.kill(); err != nil {
		return err
	}
	return r.start()
}

func (r *recordServer) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kill()
}

func (r *recordServer) kill() error {
	r.process.signal(syscall.SIGKILL)
	return r.process.wait()
}

func (r *recordServer) where() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.address
}
