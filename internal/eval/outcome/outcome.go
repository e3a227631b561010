// Package outcome is how trials of an eval ended, as files that say when they were edited.
package outcome

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
)

// Result says what a trial counts for.
type Result string

// The results.
const (
	// Passed: the verifier gave a reward of 1 or more.
	Passed Result = "Passed"
	// Failed: it did not.
	Failed Result = "Failed"
	// Errored: the trial says nothing of the model, since what is between it and the task
	// failed. It is run again when the eval is.
	Errored Result = "Errored"
)

// Reasons of trials that were not passed, where the reason is not that of the agent's loop.
const (
	// WrongResult: the agent said that it was done, and the tests say otherwise.
	WrongResult = "WrongResult"
	// The tests gave no reward that counts.
	VerifierTimeout = "VerifierTimeout"
	VerifierKilled  = "VerifierKilled"
	NoReward        = "NoReward"
	BadReward       = "BadReward"
	// SolutionFailed: the reference solution did not exit 0.
	SolutionFailed = "SolutionFailed"
	// TaskChanged: a file of the task was changed during the trial.
	TaskChanged = "TaskChanged"
	// LoopLost: the agent's loop ended without a word, or without a transcript.
	LoopLost = "LoopLost"
	// SetupFailed: the trial could not be set up on this machine.
	SetupFailed = "SetupFailed"
)

// Version is that of the format.
const Version = 1

// Trial names one run of one task by one model.
type Trial struct {
	Task string `json:"task"`
	// Agent is model, oracle or nop.
	Agent string `json:"agent"`
	// Model is the registry's id, and the agent's name where there is no model.
	Model string `json:"model"`
	// Repeat counts from 1.
	Repeat int `json:"repeat"`
}

func (t Trial) String() string { return fmt.Sprintf("%s, %s, repeat %d", t.Task, t.Model, t.Repeat) }

// Dir is the folder of a trial, in that of an eval.
func (t Trial) Dir() string {
	return filepath.Join("trials", url.PathEscape(t.Task), url.PathEscape(t.Model), strconv.Itoa(t.Repeat))
}

// Outcome is how a trial ended.
type Outcome struct {
	Version int `json:"version"`
	Trial
	// TaskDigest is of every file of the task.
	TaskDigest string `json:"taskDigest"`
	// SettingsDigest is of the model's entry, what commands have and see, and the program.
	SettingsDigest string `json:"settingsDigest,omitempty"`
	Result         Result `json:"result"`
	// Reason is empty where the trial was passed, else a constant of this package or the
	// end of the agent's loop.
	Reason   string       `json:"reason,omitempty"`
	Category llm.Category `json:"category,omitempty"`
	// Message says more, for people.
	Message string `json:"message,omitempty"`
	// Rewards are what the verifier gave; a reward without a name is "reward".
	Rewards map[string]float64 `json:"rewards,omitempty"`
	// AgentEnd is how the agent's loop ended, whatever the verifier says.
	AgentEnd        string          `json:"agentEnd,omitempty"`
	Turns           int             `json:"turns"`
	ToolCalls       int             `json:"toolCalls"`
	FailedToolCalls int             `json:"failedToolCalls"`
	Usage           llm.Usage       `json:"usage"`
	CostUSD         decimal.Decimal `json:"costUSD"`
	// Unpriced: the registry has no prices of the model, and CostUSD says nothing.
	Unpriced        bool      `json:"unpriced,omitempty"`
	AgentSeconds    float64   `json:"agentSeconds"`
	VerifierSeconds float64   `json:"verifierSeconds"`
	Started         time.Time `json:"started"`
	// Attempts counts how often the trial was run, 1 unless what is between the model and
	// the task failed. Cost and turns are of the last.
	Attempts int `json:"attempts"`
	// Files are beside the outcome: digests by name.
	Files map[string]string `json:"files,omitempty"`
	// Seal is a digest of all the above.
	Seal string `json:"seal"`
}

// Reward is what decides: "reward", or the only one.
func (o Outcome) Reward() float64 {
	if r, ok := o.Rewards["reward"]; ok || len(o.Rewards) != 1 {
		return r
	}
	for _, r := range o.Rewards {
		return r
	}
	return 0
}

const fileName = "outcome.json"

// EditedError names an outcome that is not as it was written.
type EditedError struct{ Path, What string }

func (e *EditedError) Error() string {
	return fmt.Sprintf("%s: %s; remove the folder to run the trial again", e.Path, e.What)
}

func (o Outcome) seal() (string, error) {
	o.Seal = ""
	data, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	return digest(data), nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Write seals an outcome and writes it to the folder of its trial in dir, together with the
// digests of the files that are named.
func Write(dir string, o Outcome, files ...string) error {
	folder := filepath.Join(dir, o.Dir())
	o.Version, o.Files = Version, map[string]string{}
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		o.Files[name] = digest(data)
	}
	var err error
	if o.Seal, err = o.seal(); err != nil {
		return err
	}
	data, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(folder, fileName)
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Read reads the outcome of a trial and checks its seal, and its files. Without one it
// fails with fs.ErrNotExist.
func Read(dir string, t Trial) (*Outcome, error) {
	o, err := read(filepath.Join(dir, t.Dir()))
	if err != nil {
		return nil, err
	}
	if o.Trial != t {
		return nil, &EditedError{filepath.Join(dir, t.Dir(), fileName), "it is of another trial: " + o.String()}
	}
	return o, nil
}

func read(folder string) (*Outcome, error) {
	path := filepath.Join(folder, fileName)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var o Outcome
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return nil, &EditedError{path, "it is not an outcome of this version: " + err.Error()}
	}
	want, err := o.seal()
	if err != nil {
		return nil, err
	}
	if o.Seal != want {
		return nil, &EditedError{path, "it was edited: its seal is not that of its content"}
	}
	for name, want := range o.Files {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || digest(data) != want {
			return nil, &EditedError{filepath.Join(folder, name), "it was edited or removed: its digest is not the one in " + fileName}
		}
	}
	return &o, nil
}

// ReadAll reads all outcomes of an eval, in the order of their paths. The error names every
// one that was edited.
func ReadAll(dir string) ([]Outcome, error) {
	paths, err := filepath.Glob(filepath.Join(escapeGlob(dir), "trials", "*", "*", "*", fileName))
	if err != nil {
		return nil, err
	}
	var all []Outcome
	var bad []error
	for _, path := range paths {
		o, err := read(filepath.Dir(path))
		if err == nil && filepath.Join(dir, o.Dir()) != filepath.Dir(path) {
			err = &EditedError{path, "it is of another trial: " + o.String()}
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		all = append(all, *o)
	}
	return all, errors.Join(bad...)
}

// escapeGlob keeps a path from being read as a pattern.
func escapeGlob(path string) string {
	var out []byte
	for i := range len(path) {
		if bytes.IndexByte([]byte(`*?[\`), path[i]) >= 0 {
			out = append(out, '\\')
		}
		out = append(out, path[i])
	}
	return string(out)
}
