package outcome

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func keep(t *testing.T, dir string) Outcome {
	t.Helper()
	o := Outcome{Trial: Trial{Task: "a", Agent: "model", Model: "org/m:1", Repeat: 2}, TaskDigest: "sha256:1", Result: Failed, Rewards: map[string]float64{"reward": 0.5}}
	folder := filepath.Join(dir, o.Dir())
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "log"), []byte("said"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, o, "log", "none"); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOutcomeIsReadAsItWasWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with [brackets]*")
	want := keep(t, dir)
	got, err := Read(dir, want.Trial)
	if err != nil {
		t.Fatal(err)
	}
	all, err := ReadAll(dir)
	if err != nil || len(all) != 1 || !cmp.Equal(all[0], *got) {
		t.Errorf("%+v, %v", all, err)
	}
	if len(got.Files) != 1 || got.Files["log"] == "" || got.Result != Failed || got.Reward() != 0.5 {
		t.Errorf("%+v", got)
	}
	want.Repeat = 3
	if _, err := Read(dir, want.Trial); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestEditedOutcomeIsRefusedByName(t *testing.T) {
	trial := Trial{Task: "a", Agent: "model", Model: "org/m:1", Repeat: 2}
	replace := func(path, old, with string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, bytes.Replace(data, []byte(old), []byte(with), 1), 0o600)
	}
	for what, edit := range map[string]func(folder string) error{
		"result":     func(f string) error { return replace(f+"/outcome.json", `"Failed"`, `"Passed"`) },
		"reward":     func(f string) error { return replace(f+"/outcome.json", "0.5", "1") },
		"seal":       func(f string) error { return replace(f+"/outcome.json", `"seal": "sha256:`, `"seal": "sha256:0`) },
		"field":      func(f string) error { return replace(f+"/outcome.json", `"version": 1,`, `"version": 1, "more": 2,`) },
		"file":       func(f string) error { return os.WriteFile(f+"/log", []byte("told"), 0o600) },
		"file gone":  func(f string) error { return os.Remove(f + "/log") },
		"of another": func(f string) error { return os.Rename(f, filepath.Join(filepath.Dir(f), "3")) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			keep(t, dir)
			folder := filepath.Join(dir, trial.Dir())
			if err := edit(folder); err != nil {
				t.Fatal(err)
			}
			var edited *EditedError
			if _, err := ReadAll(dir); !errors.As(err, &edited) || !strings.HasPrefix(edited.Path, filepath.Dir(folder)) {
				t.Error(err)
			}
			if what == "of another" {
				trial := trial
				trial.Repeat = 3
				if _, err := Read(dir, trial); !errors.As(err, &edited) {
					t.Error(err)
				}
			} else if _, err := Read(dir, trial); !errors.As(err, &edited) {
				t.Error(err)
			}
		})
	}
}
