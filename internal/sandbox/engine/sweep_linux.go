package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Sweeping polls, because a process may take a while to die.
const (
	sweepFirstPause = 200 * time.Microsecond
	sweepLastPause  = 5 * time.Millisecond
	sweepGiveUp     = 5 * time.Second
	// After sweepLooks at a command, or with sweepMany processes of it, they are killed
	// at one instant, or stopped before they are killed: what forks as fast as it is
	// found would never end.
	sweepLooks = 3
	sweepMany  = 100
)

var errUnkillable = errors.New("some processes could not be killed")

// sweep kills what is left of a command until nothing is, and counts it. The
// leader may still run (it is killed, too) or be reaped already.
func (t *tracker) sweep(c *command) (int, error) {
	if childless() {
		return 0, nil
	}
	killed := map[process]bool{}
	ctx, cancel := context.WithTimeout(context.Background(), sweepGiveUp)
	defer cancel()
	pause := newPause(sweepFirstPause, sweepLastPause)
	defer pause.stop()
	for clean, looks := 0, 0; ; looks++ {
		found, err := t.sweepOnce(c, killed, unix.SIGKILL)
		switch {
		case err != nil:
			return len(killed), err
		case found == 0:
			// One look can miss a child born while it was taken, also the only one.
			if clean++; clean == 2 || childless() {
				return len(killed), nil
			}
			continue
		case found > sweepMany || looks >= sweepLooks:
			t.overwhelm(ctx, c, killed)
		}
		clean = 0
		if !pause.wait(ctx) {
			return len(killed), errUnkillable
		}
	}
}

// overwhelm ends what forks faster than it is killed one by one.
func (t *tracker) overwhelm(ctx context.Context, c *command, killed map[process]bool) {
	if os.Getpid() == 1 && t.killAlone(c) {
		return
	}
	if c.pid > 0 {
		_ = unix.Kill(-c.pid, unix.SIGKILL) // its process group at one instant
	}
	// What is stopped forks no more, and still takes up a place under a limit.
	for before := -1; before != len(killed) && ctx.Err() == nil; {
		before = len(killed)
		if _, err := t.sweepOnce(c, killed, unix.SIGSTOP); err != nil {
			return
		}
	}
}

// killAlone kills all of the container but us at one instant, unless another
// command runs there.
func (t *tracker) killAlone(c *command) bool {
	t.spawn.Lock() // none may start in between
	defer t.spawn.Unlock()
	if len(t.others(c)) > 0 {
		return false
	}
	return unix.Kill(-1, unix.SIGKILL) == nil
}

// sweepAll kills what ended commands have left. As PID 1, that is everything else
// in the container, also what was entered from outside.
func (t *tracker) sweepAll(ctx context.Context) error {
	if os.Getpid() != 1 {
		_, err := t.sweep(&command{}) //nolint:contextcheck // it has a deadline of its own
		return err
	}
	pause := newPause(sweepFirstPause, sweepLastPause)
	defer pause.stop()
	for clean := 0; clean < 2; clean++ {
		alive, err := t.killAll()
		if err != nil {
			return err
		}
		if alive == 0 {
			continue
		}
		clean = -1
		if !pause.wait(ctx) {
			return fmt.Errorf("%w: %d are left", errUnkillable, alive)
		}
	}
	return nil
}

// killAll kills every other process of the container at one instant: the kernel
// lets none of them fork past it. It counts those that have not ended yet.
func (t *tracker) killAll() (alive int, err error) {
	t.spawn.Lock()
	defer t.spawn.Unlock()
	_ = unix.Kill(-1, unix.SIGKILL)
	_, others, err := t.look()
	return len(others), err
}

// sweepOnce takes one look, sends a signal to all of c that is alive, and counts
// it; those that it has not met before are noted in met.
func (t *tracker) sweepOnce(c *command, met map[process]bool, sig unix.Signal) (alive int, err error) {
	t.spawn.Lock()
	defer t.spawn.Unlock()
	v, others, err := t.look()
	for _, p := range others {
		if v.belongs(p, c) {
			alive++
			signal(p, sig)
			met[p.identity()] = true
		}
	}
	return alive, err
}

// look takes one look at the process table and gives the processes that live, but
// for this one. Orphans that have ended are reaped: t.spawn must be held for writing.
func (t *tracker) look() (v *view, others []process, err error) {
	table, err := processTable()
	if err == nil {
		v, err = t.view(table)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, p := range table {
		switch {
		case p.zombie:
			v.reapOrphan(p)
		case p.pid != v.self.pid:
			others = append(others, p)
		}
	}
	return v, others, nil
}

// pause waits, each time for twice as long, up to a limit.
type pause struct {
	timer      *time.Timer
	next, last time.Duration
}

func newPause(first, last time.Duration) *pause {
	return &pause{timer: time.NewTimer(last), next: first, last: last}
}

func (p *pause) stop() { p.timer.Stop() }

// wait is false when ctx ended before.
func (p *pause) wait(ctx context.Context) bool {
	p.timer.Reset(p.next)
	p.next = min(2*p.next, p.last)
	select {
	case <-p.timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
