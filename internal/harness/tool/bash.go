package tool

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"
)

//go:embed bash.md
var bashDescription string

type bashParams struct {
	Command        string  `json:"command,omitempty" jsonschema:"The command, run by bash -c. Needed unless kill or list is given."`
	TimeoutSeconds float64 `json:"timeout_seconds,omitempty" jsonschema:"When to end the command; 120 if not given, 600 at most unless configured otherwise."`
	Cwd            string  `json:"cwd,omitempty" jsonschema:"The directory to run in, relative to the workspace."`
	Background     bool    `json:"background,omitempty" jsonschema:"Start the command and go on; gives its id and output file."`
	Kill           string  `json:"kill,omitempty" jsonschema:"The id of a background command to stop, with all it started."`
	List           bool    `json:"list,omitempty" jsonschema:"List the background commands."`
}

// defaultBashTimeout is what a command gets whose call names none.
const defaultBashTimeout = 2 * time.Minute

func bashTool() Tool { return newTool("bash", bashDescription, false, bash) }

func bash(ctx context.Context, s *Set, p *bashParams) (Result, error) {
	asked := 0
	for _, given := range []bool{strings.TrimSpace(p.Command) != "", p.Kill != "", p.List} {
		if given {
			asked++
		}
	}
	switch {
	case asked != 1:
		return failed("Give exactly one of command, kill and list; command is what to run, such as \"ls -l\"."), nil
	case p.List:
		return Result{Content: s.jobs.list(s.opts.MaxOutputBytes)}, nil
	case p.Kill != "":
		return s.killJob(ctx, p.Kill)
	case p.TimeoutSeconds < 0:
		return failed("timeout_seconds must not be negative."), nil
	case p.Background:
		return s.startJob(ctx, p)
	}
	timeout := min(defaultBashTimeout, s.opts.ToolTimeout)
	if p.TimeoutSeconds > 0 {
		// Compared as seconds: a huge number does not fit a Duration.
		timeout = s.opts.ToolTimeout
		if p.TimeoutSeconds < timeout.Seconds() {
			timeout = time.Duration(p.TimeoutSeconds * float64(time.Second))
		}
	}
	res, err := s.exec.Exec(ctx, ExecRequest{
		Shell:          p.Command,
		Cwd:            p.Cwd,
		TimeoutSeconds: timeout.Seconds(),
		MaxOutputBytes: int64(s.opts.MaxOutputBytes - outputReserve),
		MergeStderr:    true,
		Terminal:       true,
	})
	if err != nil {
		return Result{}, err
	}
	out := Result{Content: s.showExec(res, timeout, p), IsError: res.TimedOut}
	if news := s.jobs.news(); news != "" {
		out.Content = strings.TrimSuffix(out.Content, "\n") + "\n" + news
	}
	return out, nil
}

// outputReserve of a Result is kept for what is said of a command's end.
const outputReserve = 700

// showExec writes a command's output and how it ended.
func (s *Set) showExec(res *ExecResult, timeout time.Duration, p *bashParams) string {
	opts := s.opts
	text, stray := res.Output()
	// What is shown in another way grows; the end must stay in.
	text = bound(text, opts.MaxOutputBytes-outputReserve/2, res.FullOutputPath)
	how := s.tip("with read_file", "read_file") + s.tip("or grep", "read_file", "grep")
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, "["+fmt.Sprintf(format, args...)+"]") }
	if end := s.howEnded(res, timeout, text == ""); end != "" {
		note("%s", end)
	}
	if stray > 0 {
		note("%s not UTF-8 and shown in hexadecimal, as <E9>; see them with od -c, or as text with iconv", count(stray, "byte is", "bytes are"))
	}
	if res.OOMKilled {
		note("the kernel ended a process because memory ran out: use less at once, for instance fewer jobs in parallel")
	}
	if res.ProcessLimit {
		note("there were too many processes, and all were ended: start fewer at once")
	}
	if res.OmittedStdoutBytes+res.OmittedStderrBytes > 0 && res.FullOutputPath != "" && how != "" {
		note("read %s%s", res.FullOutputPath, how)
	}
	if res.FullOutputPath != "" && res.FullOutputOmittedBytes > 0 {
		note("%s ends %d bytes early: the output was too long to be kept whole", res.FullOutputPath, res.FullOutputOmittedBytes)
	}
	if n := res.LeftoverKilled; n > 0 && !res.TimedOut && !p.Background {
		note("%s left running by the command ended with it; use background: true to keep one", processes(n))
	}
	if text != "" && !strings.HasSuffix(text, "\n") && len(notes) > 0 {
		text += "\n"
	}
	return text + strings.Join(notes, "\n")
}

// howEnded says how a command ended; nothing of one that succeeded and printed
// something.
func (s *Set) howEnded(res *ExecResult, timeout time.Duration, silent bool) string {
	switch {
	case res.TimedOut:
		hint := fmt.Sprintf("give timeout_seconds (at most %s) if it needs longer, or background: true", seconds(s.opts.ToolTimeout))
		if timeout >= s.opts.ToolTimeout {
			hint = "that is the most a command may take; do it in smaller steps, or with background: true"
		}
		return fmt.Sprintf("timed out after %s s and was ended with all it had started; %s", seconds(timeout), hint)
	case res.Signal != "":
		return fmt.Sprintf("ended by %s", res.Signal)
	case res.ExitCode == nil:
		return "exit status unknown"
	case *res.ExitCode != 0:
		return fmt.Sprintf("exit code %d", *res.ExitCode)
	case silent:
		return "exit code 0, no output"
	}
	return ""
}

// seconds writes a duration as seconds, without a needless fraction.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Milliseconds())/1000, 'f', -1, 64)
}
