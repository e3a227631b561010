package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/runner/local"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// effects is a script whose turns each add a line to a file of their own.
const effects = `
turns:
- {toolCalls: [{name: bash, arguments: {command: "echo {{turn}} >> file{{turn}}"}}], repeat: 4}
- text: Done.
`

// recordedRun is a run of a task that is kept in a folder.
type recordedRun struct {
	dir, task string
	// from is what it goes on from, if that is anything.
	from string
}

// workspace is the folder that it works in.
func (r recordedRun) workspace() string { return filepath.Join(r.dir, "ws-"+r.task) }

// runner is a program that runs it.
func (r recordedRun) runner(t *testing.T) *process {
	t.Helper()
	p := newRunner(t, effects, "")
	for i, arg := range p.cmd.Args {
		if arg == "--transcript" {
			p.cmd.Args[i], p.cmd.Args[i+1] = "--record", filepath.Join(r.dir, "record")
		}
		if arg == "--workspace" {
			p.cmd.Args[i+1] = r.workspace()
		}
	}
	if r.from != "" {
		p.cmd.Args = append(p.cmd.Args, "--from", r.from)
	}
	manifest := filepath.Join(p.dir, "task.yaml")
	text, err := os.ReadFile(manifest)
	if err == nil {
		err = os.WriteFile(manifest, bytes.Replace(text, []byte("name: chore"), []byte("name: "+r.task), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// segments counts what the record has of the transcript.
func (r recordedRun) segments(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "record", "tasks", "local", r.task, "log", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// TestRecordOutlivesKills kills a run when its record has so and so much. Another process
// brings it to its end, with the workspace or without it, and no effect comes twice.
func TestRecordOutlivesKills(t *testing.T) {
	killed := 0
	for n := 1; n <= 13; n += 2 {
		r := recordedRun{dir: t.TempDir(), task: "chore"}
		if r.killAt(t, n) {
			killed++
		}
		if n%4 == 1 {
			if err := os.RemoveAll(r.workspace()); err != nil {
				t.Fatal(err)
			}
		}
		r.finish(t, n)
	}
	if killed == 0 {
		t.Error("every run has ended before it was killed")
	}
}

// A run that goes on from another is killed as soon as it has begun, and later.
func TestForkOutlivesKills(t *testing.T) {
	killed := 0
	for n := 1; n <= 5; n++ {
		dir := t.TempDir()
		recordedRun{dir: dir, task: "chore"}.finish(t, 0)
		r := recordedRun{dir: dir, task: "again", from: "chore@0"}
		if r.killAt(t, n) {
			killed++
		}
		r.finish(t, n)
	}
	if killed == 0 {
		t.Error("every run has ended before it was killed")
	}
}

// killAt begins a run and kills it when the record has some segments, if it has not ended
// before it was seen.
func (r recordedRun) killAt(t *testing.T, n int) bool {
	t.Helper()
	p := r.runner(t)
	p.start(t)
	ended := make(chan struct{})
	go func() {
		_ = p.cmd.Wait() // it is killed
		close(ended)
	}()
	over := func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	if !poll(3*patience, func() bool { return over() || r.segments(t) >= n }) {
		t.Fatalf("the record has %d segments, and the run does not go on: %s", r.segments(t), p.stderr)
	}
	alive := !over()
	_ = p.cmd.Process.Kill() // it may have ended meanwhile
	<-ended
	return alive
}

// finish runs the same command again, and checks what has become of the run.
func (r recordedRun) finish(t *testing.T, n int) {
	t.Helper()
	p := r.runner(t)
	out, err := p.cmd.Output()
	var res harness.Result
	if err != nil || json.Unmarshal(out, &res) != nil || res.Reason != harness.Completed || res.Progress.Turns != 5 {
		t.Errorf("%s after %d segments: %v, %s\n%s", r.task, n, err, out, p.stderr)
		return
	}
	for _, name := range []string{"file0", "file1", "file2", "file3"} {
		data, err := os.ReadFile(filepath.Join(r.workspace(), name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if bytes.Count(data, []byte("\n")) > 1 {
			t.Errorf("after %d segments an effect came twice: %s has %q", n, name, data)
		}
	}
	rec, err := local.Recorded(t.Context(), filepath.Join(r.dir, "record"), r.task)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Store.Close() //nolint:errcheck // only read
	log, err := rec.Log(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	report, err := transcript.Verify(io.Reader(log))
	if err != nil || report.Ended == nil || report.Events != res.Transcript.Events || report.Digest != res.Transcript.Digest {
		t.Errorf("after %d segments the transcript is %+v, %v, and the result says %+v", n, report, err, res.Transcript)
	}
}
