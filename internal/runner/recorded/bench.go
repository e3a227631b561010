package recorded

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/record"
)

// Bench is the workspace of a named Sandbox, and its home, as the record keeps them from
// one pod to the next. It belongs to no run: its checkpoints are numbered from 1, and its
// log has a line for each pod. Its methods are safe for concurrent use.
type Bench struct {
	mu     sync.Mutex
	keeper *Keeper
	// base is the commit that the workspace was checked out at.
	base string
	// events is how many lines the log has.
	events int64
}

// opened is the line that the log of a Bench has for each pod.
type opened struct {
	Seq  int64     `json:"seq"`
	Time time.Time `json:"time"`
	Pod  string    `json:"pod"`
}

// OpenBench claims the record of a named Sandbox for a pod. Folders are those of the
// pod; kept is told of each checkpoint, also of the one that is there.
func OpenBench(ctx context.Context, rec record.Recorder, of Folders, pod string, kept func(record.Checkpoint, string)) (*Bench, error) {
	b := &Bench{}
	b.keeper = &Keeper{ctx: ctx, rec: rec, base: func() string { return b.base }, snap: of.workspace(), home: of.home(), kept: kept}
	switch c, err := rec.Latest(ctx); {
	case err == nil:
		b.keeper.newest, b.base = &c, c.Base
		b.keeper.tell(leftOut(c))
	case !errors.Is(err, record.ErrNotFound):
		return nil, fmt.Errorf("reading the last checkpoint: %w", err)
	}
	log, err := rec.Log(ctx, 1)
	if err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	b.events, err = countLines(log)
	if err := errors.Join(err, log.Close()); err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	line, err := json.Marshal(opened{Seq: b.events + 1, Time: time.Now().UTC().Round(0), Pod: pod})
	if err != nil {
		return nil, err
	}
	if err := rec.Append(ctx, b.events+1, append(line, '\n')); err != nil {
		return nil, fmt.Errorf("writing to the record: %w", err)
	}
	b.events++
	return b, nil
}

func countLines(r io.Reader) (n int64, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		n++
	}
	return n, lines.Err()
}

// Restore builds the workspace and the home of the last checkpoint in the folders, which
// have to be empty. Without a checkpoint it does nothing, and gives false. After an error
// nothing is to run in the folders, as with Journal.Restore.
func (b *Bench) Restore(ctx context.Context) (restored bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.keeper
	if k.newest == nil {
		return false, nil
	}
	if _, err := k.restoreHome(ctx, *k.newest); err != nil {
		return false, err
	}
	if err := k.snap.Restore(ctx, k.rec, *k.newest); err != nil {
		return false, err
	}
	return true, nil
}

// Base is the commit that the restored workspace was checked out at; empty without one.
func (b *Bench) Base() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.base
}

// Take takes a checkpoint of the folders as they are, with the commit that the workspace
// was checked out at.
func (b *Bench) Take(ctx context.Context, base string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.base = base
	turn := 1
	if b.keeper.newest != nil {
		turn = b.keeper.newest.Turn + 1
	}
	return b.keeper.attempt(ctx, turn, harness.TranscriptSummary{Events: b.events})
}
