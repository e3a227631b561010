package openai

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/text"
)

// finishMeaning is what a server's word for the end of a reply says of it.
type finishMeaning struct {
	// reason is set for an end with which the reply can be used.
	reason llm.FinishReason
	// category is set for an end that makes it no reply: half of one, or an error.
	// All but ContextLength may pass when the request is sent again.
	category llm.Category
}

// finishMeanings is what is known, by the word in lower case. Only what stands
// here as a good end is one; any other word is taken for a reply that broke off,
// unless there are whole tool calls to run.
var finishMeanings = meanings(map[finishMeaning]string{
	{reason: llm.FinishStop}: "stop end eos eos_token end_of_text end_of_sequence end_turn end_of_turn stop_sequence stop_token " +
		"eos_found eog complete completed finish finished done normal success",
	{reason: llm.FinishToolCalls}: "tool_calls tool_call tool-calls tool_use function_call function_calls call_tool action",
	{reason: llm.FinishLength}: "length max_tokens max_output_tokens max_completion_tokens max_new_tokens max_length model_length " +
		"token_limit error_limit output_limit incomplete",
	{reason: llm.FinishPaused}: "pause_turn pause paused",
	{reason: llm.FinishContentFilter}: "content_filter content_filtered content-filter safety refusal refused sensitive recitation blocklist " +
		"prohibited_content spii language image_safety guardrail_intervened guardrails error_toxic moderation data_inspection_failed blocked",
	{category: llm.ContextLength}: "model_context_window_exceeded context_length context_length_exceeded context_window_exceeded",
	{category: llm.Overloaded}: "insufficient_system_resource network_error server_error internal_error engine_error overloaded " +
		"error system_error upstream_error resource_exhausted preempted",
	{category: llm.Timeout}:         "timeout time_limit deadline_exceeded",
	{category: llm.TruncatedStream}: "abort aborted cancel cancelled canceled user_cancel interrupted not_finished other unknown",
	{category: llm.ModelQuality}: "malformed_function_call unexpected_tool_call too_many_tool_calls malformed_response invalid_tool_call " +
		"repetition repetition_truncation missing_thought_signature",
})

func meanings(words map[finishMeaning]string) map[string]finishMeaning {
	out := map[string]finishMeaning{}
	for meaning, list := range words {
		for _, word := range strings.Fields(list) {
			out[word] = meaning
		}
	}
	return out
}

// noWord are words for none. Servers send them with every piece until the last.
var noWord = []string{"", "null", "none", "nil", "undefined", "unspecified", "finish_reason_unspecified"}

// plainWord is a word for the end in the form in which words are compared; empty
// for one that says nothing.
func plainWord(word string) string {
	word = strings.ToLower(strings.TrimSpace(word))
	if slices.Contains(noWord, word) {
		return ""
	}
	return strings.ReplaceAll(strings.TrimPrefix(word, "finish_reason_"), " ", "_")
}

// meaningOf looks a word up: "STOP", "FINISH_REASON_STOP" and, as gateways put two
// into one, "function_call_filter: MALFORMED_FUNCTION_CALL".
func meaningOf(word string) (finishMeaning, bool) {
	outer, inner, nested := strings.Cut(word, ":")
	if !nested {
		inner = outer
	}
	for _, w := range []string{inner, outer} {
		if m, ok := finishMeanings[plainWord(w)]; ok {
			return m, true
		}
	}
	return finishMeaning{}, false
}

// word is the finish reason of a choice, empty where it has none. Gateways
// translate what they do not know to "stop"; where the server behind them said
// something worse, that counts. That it said nothing clear is not worse.
func (c *wireChoice) word() string {
	word := string(c.FinishReason)
	if plainWord(word) == "" {
		return ""
	}
	outer, _ := meaningOf(word)
	inner, _ := meaningOf(string(c.NativeFinish))
	good := func(m finishMeaning) bool { return m.reason == llm.FinishStop || m.reason == llm.FinishToolCalls }
	vague := plainWord(string(c.NativeFinish)) == "other" || plainWord(string(c.NativeFinish)) == "unknown"
	if good(outer) && inner != (finishMeaning{}) && !good(inner) && !vague {
		return string(c.NativeFinish)
	}
	return word
}

// meaningOf also knows the words that the model's entry has for good ends.
func (x *exchange) meaningOf(word string) (finishMeaning, bool) {
	same := func(good string) bool { return plainWord(good) == plainWord(word) }
	if slices.ContainsFunc(x.quirks.GoodEnds, same) {
		return finishMeaning{reason: llm.FinishStop}, true
	}
	return meaningOf(word)
}

// endsWell says that a reply is all there: what looks like a slip in its arguments
// is then one, and no end that is missing.
func (x *exchange) endsWell(word string) bool {
	meaning, _ := x.meaningOf(word)
	return meaning.reason == llm.FinishStop || meaning.reason == llm.FinishToolCalls
}

// judgeEnd takes the server's word for the end, or says why there is no reply.
func (x *exchange) judgeEnd(r *result, word string) *llm.Error {
	meaning, known := x.meaningOf(word)
	switch {
	case meaning.reason != "":
		r.finish = meaning.reason
		return nil
	case !known && len(r.calls) > 0 && wholeCalls(r.calls):
		// Nobody says how it ended, but what is to be done is all there.
		r.finish = llm.FinishToolCalls
		return nil
	case word == "":
		return &llm.Error{Category: llm.TruncatedStream, Retryable: true,
			Message: "the reply ended without a finish reason, so that it may be half a reply; if this server never sends one, " +
				`set goodEnds: [""] for the model`}
	case !known:
		return &llm.Error{Category: llm.TruncatedStream, Retryable: true,
			Message: fmt.Sprintf("the reply ended with finish reason %q, which is not known to be a good end; if it is one, add it to the model's goodEnds", text.Clip(word, 64))}
	}
	e := &llm.Error{Category: meaning.category, Retryable: meaning.category != llm.ContextLength,
		Message: fmt.Sprintf("the reply broke off: finish reason %q", text.Clip(word, 64))}
	if meaning.category == llm.ModelQuality {
		e.Hint = fmt.Sprintf("Your last reply could not be used: the server ended it with %q. Nothing was run. Make one tool call "+
			"at a time, with arguments that fit the tool's schema, or answer in words.", text.Clip(word, 64))
	}
	return e
}

// wholeCalls says that the arguments of all calls are complete as they came.
func wholeCalls(calls []llm.ToolCall) bool {
	for i := range calls {
		if !isObject(calls[i].Arguments) {
			return false
		}
	}
	return true
}
