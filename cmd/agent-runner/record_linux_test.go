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

// recordedRunner is a program that keeps its run in a folder.
func recordedRunner(t *testing.T, dir string) *process {
	t.Helper()
	p := newRunner(t, effects, "")
	for i, arg := range p.cmd.Args {
		if arg == "--transcript" {
			p.cmd.Args[i], p.cmd.Args[i+1] = "--record", filepath.Join(dir, "record")
		}
		if arg == "--workspace" {
			p.cmd.Args[i+1] = filepath.Join(dir, "ws")
		}
	}
	return p
}

// segments counts what the record has of the transcript.
func segments(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "record", "tasks", "local", "chore", "log", "*"))
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
		dir := t.TempDir()
		if killAt(t, dir, n) {
			killed++
		}
		if n%4 == 1 {
			if err := os.RemoveAll(filepath.Join(dir, "ws")); err != nil {
				t.Fatal(err)
			}
		}
		finish(t, dir, n)
	}
	if killed == 0 {
		t.Error("every run has ended before it was killed")
	}
}

// killAt begins a run and kills it when the record has some segments, if it has not ended
// before it was seen.
func killAt(t *testing.T, dir string, n int) bool {
	t.Helper()
	p := recordedRunner(t, dir)
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
	if !poll(3*patience, func() bool { return over() || segments(t, dir) >= n }) {
		t.Fatalf("the record has %d segments, and the run does not go on: %s", segments(t, dir), p.stderr)
	}
	alive := !over()
	_ = p.cmd.Process.Kill() // it may have ended meanwhile
	<-ended
	return alive
}

// finish runs the same command again, and checks what has become of the run.
func finish(t *testing.T, dir string, n int) {
	t.Helper()
	p := recordedRunner(t, dir)
	out, err := p.cmd.Output()
	var res harness.Result
	if err != nil || json.Unmarshal(out, &res) != nil || res.Reason != harness.Completed || res.Progress.Turns != 5 {
		t.Errorf("after %d segments: %v, %s\n%s", n, err, out, p.stderr)
		return
	}
	for _, name := range []string{"file0", "file1", "file2", "file3"} {
		data, err := os.ReadFile(filepath.Join(dir, "ws", name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if bytes.Count(data, []byte("\n")) > 1 {
			t.Errorf("after %d segments an effect came twice: %s has %q", n, name, data)
		}
	}
	r, err := local.Recorded(t.Context(), filepath.Join(dir, "record"), "chore")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Store.Close() //nolint:errcheck // only read
	log, err := r.Log(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	report, err := transcript.Verify(io.Reader(log))
	if err != nil || report.Ended == nil || report.Events != res.Transcript.Events || report.Digest != res.Transcript.Digest {
		t.Errorf("after %d segments the transcript is %+v, %v, and the result says %+v", n, report, err, res.Transcript)
	}
}
