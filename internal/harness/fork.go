package harness

import (
	"fmt"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// Fork is the state of another run that a run begins with.
type Fork struct {
	origin transcript.Origin
	system string
}

// maxForked bounds the texts of a conversation that a run begins with, in bytes: all of
// them are in its first event. The windows of models are far smaller.
const maxForked = 8 << 20

// ForkOf makes one of a run up to the end of a turn, which is used up. What else is known of
// the run is in origin.
func ForkOf(origin transcript.Origin, past *Past) (*Fork, error) {
	if past.err != nil {
		return nil, past.err
	}
	s := &past.state
	if len(s.conv.messages) < prefixLen {
		return nil, fmt.Errorf("it has no conversation before event %d", origin.Events+1)
	}
	s.answerForgotten()
	conv := s.conv
	if n := conv.bytes(); n > maxForked {
		return nil, fmt.Errorf("its conversation has %d bytes, of which %d can be gone on from", n, maxForked)
	}
	origin.Messages, origin.Prompt = conv.messages[1:], s.told
	return &Fork{origin: origin, system: conv.messages[0].Content}, nil
}

// answerForgotten answers calls without a result: a conversation with such is none that
// a model can go on with. Only a run that was stopped within a turn has any.
func (s *state) answerForgotten() {
	calls := s.unanswered()
	if p := s.pendingReply(); p != nil {
		calls = p.Message.ToolCalls
	}
	for i, c := range calls {
		words := neverRunText
		if i < len(s.open) {
			words = interruptedText
		}
		s.conv.add(llm.Message{Role: llm.RoleTool, Content: words, ToolCallID: c.ID})
	}
}

// started makes the first event of a run that of one that goes on from another. A prompt
// that the other run was given already is not repeated.
func (f *Fork) started(e *transcript.RunStarted, verify []Verification, redact func(string) string) {
	words := fmt.Sprintf("[harness] From here on this is another run, in a new container, which goes on from turn %d of the task %s. "+
		"The workspace is as it was after that turn, and so is the home directory where it was kept; other files, and programs that were running, are gone. "+
		"What was said of limits, and of commands that are run at the end, holds no longer.", f.origin.Turn, f.origin.Task)
	if len(verify) > 0 {
		words += "\n\n" + verifyWords(verify)
	}
	from := f.origin
	from.Notice = words
	e.SystemPrompt, e.From = f.system, &from
	if e.Prompt == from.Prompt && redact(e.Prompt) == e.Prompt { // two secrets look alike once they are redacted
		e.Prompt = ""
	}
}
