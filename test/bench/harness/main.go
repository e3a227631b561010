// Command bench-harness measures the loop of the real agent-runner against a
// scripted model server, with a floor program beside it in the same run:
// go-openai, bash -c, and two fsynced lines a turn.
//
// The server is a process of its own and is spoken to over HTTP. It notes when
// each request arrived and when its answer had been written; a turn's own time
// is from an answer to the arrival of the next request. All of a turn is in it:
// reading the reply, the transcript's fsyncs, bash, and making the request. The
// time that the server takes, and the transfer of the request's body, are not.
//
// It prints figures beside the targets and never fails on time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// floorCommand is the argument with which this program is the floor itself.
const floorCommand = "floor"

func main() {
	if len(os.Args) > 1 && os.Args[1] == floorCommand {
		exitOn(runFloor(os.Args[2:]))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	b := &bench{report: report{first: map[kind][]time.Duration{}, sigterm: map[kind][]time.Duration{}}}
	flag.IntVar(&b.rounds, "rounds", 3, "how often to repeat the short runs")
	flag.IntVar(&b.long, "turns", 1000, "turns of the long runs")
	flag.Parse()
	exitOn(b.run(ctx))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-harness:", err)
		os.Exit(1)
	}
}

// shortTurns is the length of the short runs.
const shortTurns = 100

// ends is how often start and end are measured.
const ends = 10

// bench is one run of everything.
type bench struct {
	rounds, long int

	// dir holds all files of the run; program is the agent-runner under test.
	dir, program string
	server       *modelServer
	sandbox      *sandbox
	report       report
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "bench-harness-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir) //nolint:errcheck // only temporary
	b.program = filepath.Join(b.dir, "agent-runner")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.program, "./cmd/agent-runner")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building agent-runner: %w\n%s", err, out)
	}
	if b.server, err = startModelServer(ctx, b); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.server.stop()) }()
	if b.sandbox, err = startSandbox(ctx, b); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.sandbox.stop()) }()
	if err := b.measure(ctx); err != nil {
		return err
	}
	return b.report.print(os.Stdout)
}

// measure makes all runs; kinds take turns, so that a busy minute of the
// machine hits them alike.
func (b *bench) measure(ctx context.Context) error {
	kinds := []kind{floor, inProcess, overSocket}
	for range b.rounds {
		for _, k := range kinds {
			if err := b.turns(ctx, k, shortTurns, small); err != nil {
				return err
			}
		}
	}
	for _, k := range kinds {
		if err := b.turns(ctx, k, b.long, small); err != nil {
			return err
		}
	}
	for _, k := range []kind{inProcess, overSocket} {
		if err := b.turns(ctx, k, b.long, large); err != nil {
			return err
		}
	}
	for range ends {
		for _, k := range kinds {
			if err := b.firstRequest(ctx, k); err != nil {
				return err
			}
		}
		for _, k := range []kind{inProcess, overSocket} {
			if err := b.sigterm(ctx, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// turns makes one run of n turns and takes its figures.
func (b *bench) turns(ctx context.Context, k kind, n int, o outputs) error {
	p, err := b.start(ctx, k, n, o)
	if err != nil {
		return err
	}
	if err := p.wait(0); err != nil {
		return err
	}
	records, err := b.server.records(ctx, p.task)
	if err != nil {
		return err
	}
	own, err := ownTimes(records, n)
	if err != nil {
		return fmt.Errorf("%s, %d turns: %w", k, n, err)
	}
	fmt.Fprintf(os.Stderr, "%-10s %4d turns, %s: p50 %s, peak RSS %d MB\n", k, n, o, show(percentile(own, 50)), p.peakRSS>>20)
	b.report.add(k, n, o, own, p.peakRSS)
	return nil
}

// firstRequest measures from the start of the process to its first request.
func (b *bench) firstRequest(ctx context.Context, k kind) error {
	p, err := b.start(ctx, k, 1, small)
	if err != nil {
		return err
	}
	if err := p.wait(0); err != nil {
		return err
	}
	records, err := b.server.records(ctx, p.task)
	if err != nil || len(records) == 0 {
		return errors.Join(err, errors.New("no request arrived"))
	}
	b.report.first[k] = append(b.report.first[k], time.Unix(0, records[0].UnixNano).Sub(p.began))
	return nil
}

// sigterm measures from SIGTERM in the middle of a command to the exit.
func (b *bench) sigterm(ctx context.Context, k kind) error {
	p, err := b.start(ctx, k, 0, sleeping)
	if err != nil {
		return err
	}
	if err := p.awaitFile(ctx, filepath.Join(p.dir, "run.jsonl"), `"type":"tool_call"`); err != nil {
		return errors.Join(err, p.cmd.Process.Kill())
	}
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.wait(12); err != nil { // Cancelled
		return err
	}
	b.report.sigterm[k] = append(b.report.sigterm[k], time.Since(began))
	return nil
}
