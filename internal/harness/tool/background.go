package tool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/internal/text"
)

// job is a command in the background: an Exec whose call nobody waits for.
type job struct {
	id      string
	command string
	output  string
	started time.Time
	ctx     context.Context
	cancel  context.CancelFunc

	// done is closed when res or err is set.
	done chan struct{}
	res  *ExecResult
	err  error
	// told says that the model knows of the end.
	told bool
}

// jobs are a run's commands in the background.
type jobs struct {
	mu   sync.Mutex
	all  []*job
	wg   sync.WaitGroup
	base context.Context
	end  context.CancelFunc
}

func (j *jobs) init() { j.base, j.end = context.WithCancel(context.Background()) }

// earlyEnd is how long a start waits, so that a command that fails at once is
// told of at once.
const earlyEnd = 300 * time.Millisecond

func (s *Set) startJob(ctx context.Context, p *bashParams) (Result, error) {
	j, err := s.jobs.add(p.Command, s.opts.MaxBackground)
	if err != nil {
		return failed("%v", err), nil
	}
	go func() {
		defer s.jobs.wg.Done()
		defer j.cancel()
		defer close(j.done)
		j.res, j.err = s.exec.Exec(j.ctx, ExecRequest{
			Shell: p.Command, Cwd: p.Cwd, TimeoutSeconds: p.TimeoutSeconds, MergeStderr: true, Terminal: true, OutputFile: j.output,
		})
	}()
	timer := time.NewTimer(earlyEnd)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return Result{}, ctx.Err()
	case <-j.done:
		if j.err != nil {
			s.jobs.drop(j)
			return Result{}, fmt.Errorf("starting the command in the background: %w", j.err)
		}
		s.jobs.tell(j)
		return Result{Content: fmt.Sprintf("The command ended at once.\n%s", s.showExec(j.res, time.Duration(p.TimeoutSeconds*float64(time.Second)), p))}, nil
	case <-timer.C:
	}
	return Result{Content: fmt.Sprintf("Started %s in the background. Its output goes to %s.%s Stop it with kill: %q.", j.id, j.output, s.tip("Read it with read_file.", "read_file"), j.id)}, nil
}

func (j *jobs) add(command string, limit int) (*job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.base.Err() != nil {
		return nil, errors.New("The run is ending: nothing can be started any more.")
	}
	running := 0
	for _, o := range j.all {
		if !o.ended() {
			running++
		}
	}
	if running >= limit {
		return nil, fmt.Errorf("%d commands run in the background already, the limit is %d. Stop one with kill; list shows them.", running, limit)
	}
	id := fmt.Sprintf("bg%d", len(j.all)+1)
	n := &job{id: id, command: command, output: ".sampan/output/" + id + ".log", started: time.Now(), done: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancel(j.base)
	j.all = append(j.all, n)
	j.wg.Add(1)
	return n, nil
}

func (o *job) ended() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// drop marks a job that never ran; its number is not used again.
func (j *jobs) drop(o *job) { j.tell(o) }

func (j *jobs) tell(o *job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	o.told = true
}

// killJob stops one job and waits until it is dead.
func (s *Set) killJob(ctx context.Context, id string) (Result, error) {
	o := s.jobs.find(id)
	if o == nil {
		return failed("There is no background command %q.\n%s", text.Clip(id, 60), s.jobs.list(s.opts.MaxOutputBytes/2)), nil
	}
	if o.ended() {
		s.jobs.tell(o)
		return Result{Content: o.describe()}, nil
	}
	o.cancel()
	select {
	case <-o.done:
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	s.jobs.tell(o)
	return Result{Content: fmt.Sprintf("Stopped %s with all it had started. Its output is in %s.", o.id, o.output)}, nil
}

func (j *jobs) find(id string) *job {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range j.all {
		if o.id == id {
			return o
		}
	}
	return nil
}

// describe says how a job is, on one line.
func (o *job) describe() string {
	state := fmt.Sprintf("running for %s s", seconds(time.Since(o.started).Round(time.Second)))
	if o.ended() {
		switch {
		case errors.Is(o.err, context.Canceled), errors.Is(o.err, ErrKilled):
			state = "was stopped"
		case o.err != nil:
			state = "failed: " + o.err.Error()
		case o.res.TimedOut:
			state = fmt.Sprintf("timed out after %s s", seconds(o.res.Duration.Round(time.Second)))
		case o.res.Signal != "":
			state = "ended by " + o.res.Signal
		case o.res.ExitCode != nil:
			state = fmt.Sprintf("ended with exit code %d", *o.res.ExitCode)
		default:
			state = "ended, exit status unknown"
		}
	}
	return fmt.Sprintf("%s: %s; output in %s; command: %s", o.id, state, o.output, text.Clip(squeeze(o.command), 120))
}

func (j *jobs) list(limit int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.all) == 0 {
		return "There are no background commands."
	}
	var b strings.Builder
	for _, o := range j.all {
		b.WriteString(o.describe() + "\n")
		o.told = o.told || o.ended()
	}
	return bound(b.String(), limit, "")
}

// news tells once of each job that ended by itself.
func (j *jobs) news() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, o := range j.all {
		if !o.told && o.ended() {
			o.told = true
			b.WriteString("[background " + o.describe() + "]\n")
		}
	}
	return b.String()
}

// close stops all jobs and waits for them.
func (j *jobs) close(ctx context.Context) error {
	j.mu.Lock()
	j.end()
	j.mu.Unlock()
	done := make(chan struct{})
	go func() { j.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for background commands to end: %w", ctx.Err())
	}
}

func processes(n int) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}
