package engine

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// guardLook is how often the guard looks at what descends from the run. One
	// look takes about a millisecond.
	guardLook = 500 * time.Millisecond
	// guardGivesUp bounds the killing.
	guardGivesUp = 10 * time.Second
)

// Guard kills all that the commands of a run started when the run is killed, and
// returns when nothing of it is left, or when the run has let it go. lifeline is
// a pipe that ends with the run.
//
// What is a command's is known by the run's mark in its environment, which is
// inherited; by descent, from looks that are taken while the run lives; and by
// the session. One that throws its environment away, leaves its session and loses
// its parents, all between two looks, and just before the run is killed, gets away.
func Guard(lifeline io.Reader, run Guarded) error {
	if run.PID <= 1 || run.Start == 0 || run.ID == "" {
		return errors.New("the run to guard is not named in full")
	}
	g := newGuard(run)
	ended := make(chan bool, 1)
	go func() {
		said, _ := io.ReadAll(io.LimitReader(lifeline, 1)) // a broken pipe is an end, too
		ended <- bytes.Equal(said, []byte{GuardDismissed})
	}()
	tick := time.NewTicker(guardLook)
	defer tick.Stop()
	for {
		select {
		case dismissed := <-ended:
			if dismissed {
				return nil
			}
			return g.killAll()
		case <-tick.C:
			if table, err := processTable(); err == nil { // else the next look may be luckier
				g.look(table)
			}
		}
	}
}

// Self names this process and a run in it, for its guard.
func Self(id string) (Guarded, error) {
	p, ok := readProcess(os.Getpid(), make([]byte, 1024))
	if !ok {
		return Guarded{}, errors.New("/proc does not show this process")
	}
	return Guarded{PID: p.pid, Start: p.start, ID: id}, nil
}

// guard is what is known of a run.
type guard struct {
	run Guarded
	// self is this process.
	self int
	// marked reads a process's environment.
	marked func(pid int) bool
	// known are processes of the run's commands.
	known map[process]bool
	// sessions were begun by a command.
	sessions map[int]bool
}

func newGuard(run Guarded) *guard {
	return &guard{
		run: run, self: os.Getpid(), known: map[process]bool{}, sessions: map[int]bool{},
		marked: func(pid int) bool { return markOf(pid, RunIDEnv) == run.ID },
	}
}

// identity is a process without what changes.
func (p process) identity() process { return process{pid: p.pid, start: p.start} }

// look notes what descends from the run, and forgets what has ended.
func (g *guard) look(table map[int]process) {
	before := g.known
	g.known = map[process]bool{}
	g.spread(table, func(p process) bool { return before[p.identity()] })
}

// find gives what is left of the run's commands.
func (g *guard) find(table map[int]process) []process {
	g.spread(table, func(p process) bool {
		return p.session != table[g.self].session && g.sessions[p.session] || g.marked(p.pid)
	})
	var left []process
	for _, p := range table {
		if g.known[p.identity()] && !p.zombie {
			left = append(left, p)
		}
	}
	return left
}

// spread notes the children of the run, what is chosen, and all that descends
// from those.
func (g *guard) spread(table map[int]process, chosen func(process) bool) {
	for more := true; more; {
		more = false
		for _, p := range table {
			if g.known[p.identity()] || !g.mayBelong(p) {
				continue
			}
			parent := table[p.ppid].identity()
			if parent == (process{pid: g.run.PID, start: g.run.Start}) || g.known[parent] || chosen(p) {
				g.known[p.identity()] = true
				if p.session != table[g.self].session {
					g.sessions[p.session] = true
				}
				more = true
			}
		}
	}
}

// mayBelong rules out whatever was there before the run, and the run itself: a
// mistake here would end processes that are none of its business.
func (g *guard) mayBelong(p process) bool {
	return p.pid > 1 && p.ppid > 0 && p.start >= g.run.Start && p.pid != g.self && p.pid != g.run.PID
}

// killAll kills until nothing is left in two looks: one can miss a child that is
// born while it is taken.
func (g *guard) killAll() error {
	giveUp := time.NewTimer(guardGivesUp)
	defer giveUp.Stop()
	next := time.NewTicker(sweepLastPause)
	defer next.Stop()
	for clean := 0; clean < 2; {
		clean++
		if table, err := processTable(); err == nil {
			for _, p := range g.find(table) {
				clean = 0
				signal(p, unix.SIGKILL)
			}
		}
		select {
		case <-next.C:
		case <-giveUp.C:
			return errUnkillable
		}
	}
	return nil
}
