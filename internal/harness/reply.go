package harness

import (
	"encoding/json"
	"strings"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// replyKind is what a reply means for the run.
type replyKind int

const (
	// replyDone: the model finished by itself.
	replyDone replyKind = iota
	// replyCalls: it asks for tools.
	replyCalls
	// replyEmpty: there is nothing in it, or it announced calls that are missing.
	replyEmpty
	// replyCut: it ended before the model had finished, at the output limit say.
	replyCut
	// replyFiltered: the server's content filter stopped it.
	replyFiltered
)

// classify looks at what is there rather than at what the server calls it:
// servers say "stop" with calls and "tool_calls" with none.
func classify(resp *llm.Response) replyKind {
	switch {
	case resp.FinishReason == llm.FinishContentFilter:
		return replyFiltered
	case len(resp.Message.ToolCalls) > 0:
		return replyCalls
	case resp.FinishReason == llm.FinishToolCalls, strings.TrimSpace(resp.Message.Content) == "":
		return replyEmpty
	case resp.FinishReason == llm.FinishStop:
		return replyDone
	}
	// Only what is known to be a good end is one.
	return replyCut
}

// maxEmpties in a row are answered with a nudge; one more ends the run.
const maxEmpties = 2

const (
	emptyText = "[harness] Your last reply was empty. Either call a tool to go on, or, " +
		"if the task is done, say in a few words what you did."
	emptyCutText = "[harness] Your last reply reached the output limit before it said anything. " +
		"Think less, and go on with a short reply or one tool call."
	missingCallText = "[harness] Your last reply announced a tool call, but none arrived. Make the call again."
	outputLimitText = "[harness] Your last reply was cut off at the output limit. Go on from where it ends, " +
		"in smaller steps; write long files in several parts."
	pausedText  = "[harness] Your last reply was paused before its end. Go on from where it ends."
	cutCallText = "This call was not run: your reply reached the output limit in the middle of it. " +
		"Make it again with less in it; write long files in several parts."
)

// nudge answers an empty reply, a bounded number of times.
func (r *run) nudge(resp *llm.Response) error {
	if n := r.log.state.empties + 1; n > maxEmpties {
		return stopf(EmptyResponse, "%s gave %d replies in a row with nothing in them.", r.log.state.progress.Model, n)
	}
	kind, text := transcript.NoticeEmptyReply, emptyText
	switch resp.FinishReason {
	case llm.FinishToolCalls:
		kind, text = transcript.NoticeMissingToolCall, missingCallText
	case llm.FinishLength:
		text = emptyCutText
	default: // the server says no more than that
	}
	if err := r.log.notice(kind, text); err != nil {
		return err
	}
	return r.log.sync(PhaseWaiting, "got an empty reply")
}

// goOn answers a reply that ended before the model had finished.
func (r *run) goOn(resp *llm.Response) error {
	kind, text := transcript.NoticeOutputLimit, outputLimitText
	if resp.FinishReason != llm.FinishLength {
		kind, text = transcript.NoticePaused, pausedText
	}
	if err := r.log.notice(kind, text); err != nil {
		return err
	}
	return r.log.sync(PhaseThinking, "thinking")
}

// correct tells the model what it did wrong in a reply that could not be used and
// is no part of the conversation, unless it was the last thing that it was told.
func (c *caller) correct(le *llm.Error) error {
	if le.Hint == "" {
		return nil
	}
	text := "[harness] " + le.Hint
	if last := c.log.state.conv.messages[len(c.log.state.conv.messages)-1]; last.Role == llm.RoleUser && last.Content == text {
		return nil
	}
	return c.log.notice(transcript.NoticeUnusableReply, text)
}

// cutOff says that a call must not be run, since the reply ended in the middle
// of it. Arguments that were cut are often repaired into something valid, and
// half a file written is worse than none.
func cutOff(resp *llm.Response, i int) bool {
	calls := resp.Message.ToolCalls
	return resp.FinishReason == llm.FinishLength && i == len(calls)-1 && !json.Valid([]byte(calls[i].Arguments))
}
