package harness

import (
	"maps"
	"slices"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// state is what a run is, as it follows from its events and from nothing else: a
// process that reads them stands where the one stood that wrote them. Only apply
// changes it.
type state struct {
	conv conversation
	// told is what the run was last told to do, as the record has it.
	told string
	// progress has the counts alone; what is going on is no matter of the record.
	progress Progress
	// model is the one that was called last.
	model string
	// callIDs are all tool call ids of the run: a second use gets a new one.
	callIDs map[string]bool
	// reply is the last one, until something followed from it.
	reply *transcript.Response
	// open are the recorded calls of the reply without a result, results those that
	// came, both in order.
	open    []llm.ToolCall
	results []transcript.ToolResult
	loops   loopDetector
	// request is the last one, until something came back.
	request *transcript.Request
	// empties counts replies in a row without anything in them.
	empties int
	// warned is set once the model was told to wrap up.
	warned bool
	// wrapUpAt is the turn before which the model was told that the user wants
	// the run to end; 0 is never.
	wrapUpAt int
	// checks are the names of the task's verifications, and verifications say how
	// each last went, once one was run.
	checks        []string
	verifications []VerificationResult
	// unproven is set once a verification has failed: with the next round that
	// passes the run ends.
	unproven bool
	// idleClaims counts how often in a row the model called a failing task done
	// without a single tool call in between.
	idleClaims int
	// pending is the end with which the run was handed over to Separate verifications,
	// until one of them has sent it back.
	pending *transcript.RunEnded
	// active is the time that processes spent on the run, last that of the newest event.
	active time.Duration
	last   time.Time
	// ended is set by the terminal event.
	ended *transcript.RunEnded
}

// event is a transcript's event with its data decoded: a pointer to its struct.
type event struct {
	turn int
	time time.Time
	data transcript.Data
}

// apply gives the state after one more event. It depends on the two alone and
// changes neither, except as append does: a slice of the state that is given may
// share its memory with the one that comes out, so each state has one successor.
func apply(s state, e event) state {
	_, resumed := e.data.(*transcript.RunResumed)
	if !s.last.IsZero() && !resumed { // between two processes nobody worked on the task
		s.active += max(e.time.Sub(s.last), 0)
	}
	s.last = e.time
	switch d := e.data.(type) {
	case *transcript.RunStarted:
		s.conv, s.callIDs, s.told = firstConversation(d), callIDsOf(d.From), toldBy(d)
		for _, v := range d.Verify {
			s.checks = append(s.checks, v.Name)
		}
	case *transcript.RunResumed:
		s.wrapUpAt = 0 // whoever asked for that, asked the earlier process
		s.ended = nil
	case *transcript.Request:
		s.request, s.model = d, d.Model
	case *transcript.Response:
		s.applyResponse(e.turn, d)
	case *transcript.Retry:
		s.request = nil
		if d.Usage != nil {
			s.progress.Usage.Add(*d.Usage)
		}
		if d.CostUSD != nil {
			s.progress.CostUSD = s.progress.CostUSD.Add(*d.CostUSD)
		}
	case *transcript.Fallback:
		s.model = d.To
		s.conv.uncalibrate() // models do not count tokens alike
	case *transcript.Compaction:
		s.conv.compact(*d)
	default:
		s.applyStep(e)
	}
	return s
}

// applyStep applies what follows from a reply.
func (s *state) applyStep(e event) {
	switch d := e.data.(type) {
	case *transcript.ToolCall:
		s.open = append(slices.Clip(s.open), llm.ToolCall{ID: d.ID, Name: d.Name, Arguments: d.Arguments})
	case *transcript.ToolResult:
		s.applyResult(d)
	case *transcript.Notice:
		s.applyNotice(e.turn, d)
	case *transcript.Verification:
		s.applyVerification(d)
	case *transcript.RunEnded:
		s.ended = d
		if End(d.Reason) == VerificationPending {
			s.pending = d
		}
	}
}

// firstConversation is what a run begins with.
func firstConversation(d *transcript.RunStarted) conversation {
	specs := make([]llm.ToolSpec, len(d.Tools))
	for i, t := range d.Tools {
		specs[i] = llm.ToolSpec{Name: t.Name, Description: t.Description, Parameters: t.Parameters}
	}
	c := newConversation(specs)
	c.add(llm.Message{Role: llm.RoleSystem, Content: d.SystemPrompt})
	words := d.Prompt
	if from := d.From; from != nil {
		c.add(from.Messages...)
		words = from.Notice
		// The first message stays where it is, whatever is left out.
		if told := toldBy(d); d.Prompt != "" || len(from.Messages) == 0 || told != from.Messages[0].Content {
			words += "\n\n" + told
		}
	}
	c.pinned = len(c.messages)
	c.add(llm.Message{Role: llm.RoleUser, Content: words})
	return c
}

// toldBy is what a run is told to do by its first event.
func toldBy(d *transcript.RunStarted) string {
	if d.Prompt == "" && d.From != nil {
		return d.From.Prompt
	}
	return d.Prompt
}

// callIDsOf are the ids of the calls that a run begins with.
func callIDsOf(from *transcript.Origin) map[string]bool {
	if from == nil {
		return nil
	}
	ids := map[string]bool{}
	for _, m := range from.Messages {
		for _, c := range m.ToolCalls {
			ids[c.ID] = true
		}
	}
	return ids
}

func (s *state) applyResponse(turn int, d *transcript.Response) {
	s.request = nil
	s.progress.Turns, s.progress.Model, s.model = turn, d.Model, d.Model
	s.progress.CostUSD = s.progress.CostUSD.Add(d.CostUSD)
	s.progress.Usage.Add(d.Usage)
	if !d.Usage.Estimated {
		s.conv.calibrate(d.Usage.InputTokens)
	}
	if d.Kept {
		s.conv.add(d.Message)
	}
	if classify(&llm.Response{Message: d.Message, FinishReason: d.FinishReason}) != replyEmpty {
		s.empties = 0
	}
	s.reply, s.open, s.results = d, nil, nil
	if len(d.Message.ToolCalls) == 0 {
		return
	}
	s.idleClaims = 0
	s.callIDs = maps.Clone(s.callIDs)
	if s.callIDs == nil {
		s.callIDs = map[string]bool{}
	}
	for _, c := range d.Message.ToolCalls {
		s.callIDs[c.ID] = true
	}
}

func (s *state) applyResult(d *transcript.ToolResult) {
	s.progress.ToolCalls++
	if d.IsError {
		s.progress.FailedToolCalls++
	}
	s.conv.add(llm.Message{Role: llm.RoleTool, Content: d.Content, ToolCallID: d.ID})
	s.open = slices.DeleteFunc(slices.Clone(s.open), func(c llm.ToolCall) bool { return c.ID == d.ID })
	if s.reply == nil {
		return
	}
	s.results = append(slices.Clip(s.results), *d)
	if calls := s.reply.Message.ToolCalls; len(s.results) == len(calls) {
		s.loops = s.loops.after(turnOf(calls, s.results))
		s.reply, s.results = nil, nil
	}
}

func (s *state) applyNotice(turn int, d *transcript.Notice) {
	s.conv.add(llm.Message{Role: llm.RoleUser, Content: d.Text})
	s.reply = nil
	switch d.Kind {
	case transcript.NoticeSoftLimit:
		s.warned = true
	case transcript.NoticeWrapUp:
		s.wrapUpAt = turn
	case transcript.NoticeLoop:
		s.loops.warned = true
	case transcript.NoticeEmptyReply, transcript.NoticeMissingToolCall:
		s.empties++
	case transcript.NoticeVerificationFailed:
		s.idleClaims++
		s.pending = nil
	case transcript.NoticeOutputLimit, transcript.NoticePaused, transcript.NoticeUnusableReply, transcript.NoticeWorkspaceRestored:
	}
}

// applyVerification notes how one went. They are run in order, up to the first that
// fails: those after it were not, in this round.
func (s *state) applyVerification(d *transcript.Verification) {
	s.unproven = s.unproven || !d.Passed
	s.verifications = s.round()
	v := VerificationResult{Name: d.Name, Passed: d.Passed, ExitCode: d.ExitCode, Message: text.ClipStart(d.Output, verifyMessage)}
	i := slices.Index(s.checks, d.Name)
	if i < 0 {
		s.verifications = append(s.verifications, v)
		return
	}
	s.verifications[i] = v
	for j := i + 1; j < len(s.checks); j++ {
		s.verifications[j] = notRun(s.checks[j])
	}
}

// round is a copy of the verifications, or the beginning of their first round.
func (s *state) round() []VerificationResult {
	if s.verifications != nil {
		return slices.Clone(s.verifications)
	}
	out := make([]VerificationResult, len(s.checks))
	for i, name := range s.checks {
		out[i] = notRun(name)
	}
	return out
}

func notRun(name string) VerificationResult {
	return VerificationResult{Name: name, Message: "Not run."}
}

// pendingReply is the last reply, if nothing followed from it yet: its calls, if
// any, did not begin, since their record comes first.
func (s *state) pendingReply() *llm.Response {
	p := s.reply
	if p == nil || len(s.open)+len(s.results) > 0 {
		return nil
	}
	return &llm.Response{Message: p.Message, FinishReason: p.FinishReason, Usage: p.Usage, Model: p.ServedBy}
}

// unanswered are the calls of the last reply without a result, if the first of them
// was recorded: answers come in order, so they are its last ones.
func (s *state) unanswered() []llm.ToolCall {
	if s.reply == nil || len(s.open)+len(s.results) == 0 {
		return nil
	}
	return s.reply.Message.ToolCalls[len(s.results):]
}
