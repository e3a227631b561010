package workspace

import (
	"bytes"
	"regexp"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxGitOutput is how much of git's own words goes into an error.
	maxGitOutput = 1024
	// maxGitLine is how long a line of git is waited for.
	maxGitLine = 4096
	// progressInterval is how often the progress of a checkout is told.
	progressInterval = 2 * time.Second
)

// gitStep is a line in which git, or the server through it, says how far it is.
var gitStep = regexp.MustCompile(`^(?:remote: )?((?:Enumerating|Counting|Compressing|Receiving|Resolving|Unpacking|Updating|Filtering|Fetching|Checking)(?: [a-z]+)+): +(\d{1,3}%)?(?:.*, ([0-9.]+ [KMGT]?i?B) \|)?`)

// Step is how far a checkout is.
type Step struct {
	// Source is the repository and its ref, as the checkout begins.
	Source string
	// Action is what git then does ("receiving objects"), Done how much of that, in
	// percent with the sign, and Received what came of it, with its unit, if git says it.
	Action, Done, Received string
}

// String is a step in a few words, for people.
func (s Step) String() string {
	words := "checking out"
	if s.Source != "" {
		words += " " + s.Source
	}
	if s.Action != "" {
		words += ": " + s.Action + " " + s.Done
	}
	if s.Received != "" {
		words += ", " + s.Received
	}
	return words
}

// gitOutput takes what git prints: of its progress it tells, and it keeps the
// end of the rest.
type gitOutput struct {
	// progress may be nil; sometimes bounds how often it is called.
	progress  func(Step)
	sometimes *rate.Sometimes

	line, words bytes.Buffer
}

func newGitOutput(progress func(Step)) *gitOutput {
	return &gitOutput{progress: progress, sometimes: &rate.Sometimes{Interval: progressInterval}}
}

// Write implements io.Writer.
func (o *gitOutput) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\r' || b == '\n' || o.line.Len() >= maxGitLine {
			o.endLine()
		}
		if b != '\r' && b != '\n' {
			o.line.WriteByte(b)
		}
	}
	return len(p), nil
}

func (o *gitOutput) endLine() {
	line := o.line.String()
	o.line.Reset()
	if m := gitStep.FindStringSubmatch(line); m != nil {
		o.tell(m)
		return
	}
	o.words.WriteString(line + "\n")
	if over := o.words.Len() - maxGitOutput; over > 0 {
		o.words.Next(over)
	}
}

func (o *gitOutput) tell(step []string) {
	if o.progress == nil || step[2] == "" {
		return
	}
	o.sometimes.Do(func() {
		o.progress(Step{Action: strings.ToLower(step[1]), Done: step[2], Received: step[3]})
	})
}

// String gives the end of git's words.
func (o *gitOutput) String() string {
	o.endLine()
	return strings.TrimSpace(o.words.String())
}

// head keeps the beginning of what is written to it.
type head struct {
	buf bytes.Buffer
	max int
}

// Write implements io.Writer.
func (h *head) Write(p []byte) (int, error) {
	h.buf.Write(p[:min(len(p), h.max-h.buf.Len())])
	return len(p), nil
}
