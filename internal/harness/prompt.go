package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

const (
	// docsFile is read from the workspace's root into the prompt.
	docsFile = "AGENTS.md"
	// maxDocs is how much of it goes in, maxDocsFile how large it may be.
	maxDocs     = 32 << 10
	maxDocsFile = 1 << 20
	// docsTimeout bounds the reading of it.
	docsTimeout = 10 * time.Second
)

const basePrompt = `You are an agent that works on a task alone, in a sandbox. Nobody reads along and nobody answers questions: where something is unclear, choose what is most reasonable and say so at the end.

- Work in the workspace, your current directory, with the tools you have. Paths are relative to it.
- Look before you change: read the files concerned first, and keep to the style of what is there.
- Change only what the task asks for. Check your work by running it or its tests.
- When a tool reports an error, read it and do something about the cause. Do not repeat a call that failed in the same way.
- You are done when you answer without calling a tool. Do that only when the task is finished, or when you are sure that it cannot be; then say in a few sentences what you did and what is left.
- Messages that begin with [harness] come from the program that runs you.`

// systemPrompt is the same for the same task, so that servers can cache it.
func systemPrompt(t Task, docs string) string {
	parts := []string{basePrompt}
	if len(t.Verify) > 0 {
		parts = append(parts, verifyWords(t.Verify))
	}
	if s := strings.TrimSpace(t.SystemPrompt); s != "" {
		parts = append(parts, s)
	}
	if docs != "" {
		parts = append(parts, "The workspace has an "+docsFile+" with notes of the project for agents:\n\n"+docs)
	}
	return strings.Join(parts, "\n\n")
}

// verifyWords says what proves the work.
func verifyWords(verify []Verification) string {
	lines := []string{"After you say that you are done, these commands are run in the workspace. Each must exit 0, or you will be told to go on:"}
	for _, v := range verify {
		line := fmt.Sprintf("- %s: %s", v.Name, v.Command)
		if v.Separate {
			line += " (in a new sandbox that has the files of the workspace, and nothing else that you leave or install)"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// projectDocs reads the project's own notes. A workspace without them, or with
// something unreadable in their place, is nothing unusual; a sandbox that is
// gone is an error.
func (r *run) projectDocs(ctx context.Context) (string, error) {
	if r.cfg.Executor == nil {
		return "", nil
	}
	ctx, cancel := withTimeout(ctx, r.clock, docsTimeout, context.DeadlineExceeded)
	defer cancel()
	file, err := await(ctx, r.clock, func() (*tool.File, error) { return r.cfg.Executor.ReadFile(ctx, docsFile, maxDocsFile) })
	switch {
	case errors.Is(err, errNoAnswer), errors.Is(err, context.DeadlineExceeded):
		return "", stopf(SandboxLost, "The sandbox did not answer within %s.", docsTimeout)
	case errors.Is(err, tool.ErrExecutorGone):
		return "", stopf(SandboxLost, "The sandbox cannot be reached: %v", err)
	case err != nil:
		return "", nil
	case file == nil:
		return "", errors.New("the executor gave no file")
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(file.Data), "\uFFFD"))
	if len(text) > maxDocs {
		text = strings.ToValidUTF8(text[:maxDocs], "") + fmt.Sprintf("\n[%d more bytes are in %s]", len(text)-maxDocs, docsFile)
	}
	return text, nil
}
