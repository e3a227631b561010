package openai

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/llm"
)

// What servers say of a request that they refuse, and what is changed for it.
func TestRefusalsAreLearnedFrom(t *testing.T) {
	fold, nine := Quirks{UserAfterTool: UserAfterToolFold}, Quirks{ToolCallIDs: ToolCallIDsAlnum9}
	empty := Quirks{NullContent: NullContentEmpty}
	plain := Quirks{ToolSchemas: ToolSchemasPlain}
	required := Quirks{ReplayReasoning: ReplayRequired}
	for words, tc := range map[string]struct{ before, after Quirks }{
		"Unexpected role 'user' after role 'tool'":                                                                             {after: fold},
		"After the optional system message, conversation roles must alternate user/assistant/user/assistant/...":               {after: fold},
		"Conversation roles must alternate user and assistant roles except for tool calls and results.":                        {after: fold},
		"A conversation must alternate between user and assistant roles. Make sure the conversation alternates":                {after: fold},
		"messages: roles must alternate between \"user\" and \"assistant\", but found multiple \"user\" roles in a row":        {after: fold},
		"deepseek-reasoner does not support successive user or assistant messages (messages[1] and messages[2] in your input)": {after: fold},
		"After the (optional) system message(s), user or tool message(s) should alternate with assistant message(s).":          {after: fold},
		"Please ensure that function call turn comes immediately after a user turn or after a function response turn.":         {after: fold},
		"Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.":                                               {after: nine},
		"Invalid 'messages[2].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got length 45": {after: nine},
		"messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'":                                     {after: nine},
		"Value at 'toolUseId' failed to satisfy constraint: Member must have length less than or equal to 64":                  {after: nine},
		"Function call is missing a thought_signature in functionCall parts.":                                                  {after: Quirks{ThoughtSignatures: ThoughtSignaturesFill}},
		"Unable to submit request because Thought signature is not valid":                                                      {after: Quirks{ThoughtSignatures: ThoughtSignaturesFill}},
		"Missing `reasoning_content` field in the assistant message at message index 2.":                                       {after: required},
		"thinking is enabled but reasoning_content is missing in assistant tool call message at index 2":                       {after: required},
		"The `reasoning_content` in the thinking mode must be passed back to the API.":                                         {after: required},
		"'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : property 'reasoning_content' is unsupported)]": {
			before: Quirks{ReplayReasoning: ReplayReasoningContent}, after: Quirks{ReplayReasoning: ReplayNever}},
		"messages.1.reasoning: Extra inputs are not permitted":                                                                           {before: Quirks{ReplayReasoning: ReplayReasoning}, after: Quirks{ReplayReasoning: ReplayNever}},
		"messages.2.content: Input should be a valid string [type=string_type, input_value=None]":                                        {after: empty},
		"Invalid value for 'content': expected a string, got null.":                                                                      {after: empty},
		"[] is too short - 'messages.1.content': none is not an allowed value":                                                           {after: empty},
		"Failed to deserialize the JSON body: messages[2]: missing field `content`":                                                      {after: empty},
		"messages.1: 'content' is a required property":                                                                                   {after: empty},
		"oneOf at '/' not met: Type mismatch of '/messages/2/content', 'string' not in 'null'":                                           {after: empty},
		"messages: text content blocks must be non-empty":                                                                                {before: empty, after: Quirks{NullContent: NullContentOmit}},
		"The text field in the ContentBlock object at messages.1.content.0 is blank.":                                                    {before: empty, after: Quirks{NullContent: NullContentOmit}},
		"'content' is a required property and must not be empty":                                                                         {before: Quirks{NullContent: NullContentOmit}, after: Quirks{NullContent: NullContentText}},
		"Invalid JSON payload received. Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters': Cannot": {after: plain},
		"Invalid schema for function 'bash': 'exclusiveMinimum' is not supported":                                                        {after: plain},
		"* tools[0].function_declarations[2].parameters.properties: should be non-empty for OBJECT type":                                 {after: plain},
		"tools.0.function.parameters: unsupported keyword \"format\"":                                                                    {after: plain},
		"This model only supports single tool-calls at once!":                                                                            {after: Quirks{OneCallPerMessage: true}},
		"Developer instruction is not enabled for models/gemma-3-27b-it":                                                                 {after: Quirks{SystemRole: RoleUser}},
		"System role not supported": {after: Quirks{SystemRole: RoleUser}},
		"Unsupported value: 'messages[0].role' does not support 'system' with this model.":                              {after: Quirks{SystemRole: RoleUser}},
		"* contents[2].parts[0].function_response.name: Name cannot be empty.":                                          {after: Quirks{ToolMessageName: true}},
		"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.":    {after: Quirks{MaxTokensField: MaxCompletionTokens}},
		"max_completion_tokens: Extra inputs are not permitted":                                                         {before: Quirks{MaxTokensField: MaxCompletionTokens}, after: Quirks{MaxTokensField: MaxTokens}},
		"Unrecognized request argument supplied: parallel_tool_calls":                                                   {before: Quirks{ParallelToolCalls: new(bool)}},
		"deepseek-reasoner does not support this tool_choice":                                                           {before: Quirks{ToolChoice: ToolChoiceRequired}, after: Quirks{ToolChoice: ToolChoiceAuto}},
		"tool_choice is not supported":                                                                                  {after: Quirks{ToolChoice: ToolChoiceOmit}},
		"Unknown field: stream_options":                                                                                 {after: Quirks{NoStreamUsage: true}},
		"Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.": {before: Quirks{Temperature: new(float64)}},
		"The messages parameter is illegal (1214)": {after: Quirks{
			UserAfterTool: UserAfterToolFold, ToolCallIDs: ToolCallIDsAlnum9, OpaqueFields: OpaqueFieldsDrop, NullContent: NullContentText,
			ToolSchemas: ToolSchemasPlain, ToolChoice: ToolChoiceOmit, NoStreamUsage: true, OneCallPerMessage: true, ReplayReasoning: ReplayNever,
		}},
		"messages.3.content: expected a string, got null (invalid_request_error)": {after: empty},
		"Cannot use tools with stream":                                            {after: Quirks{NoStream: true}},
		"Your organization must be verified to stream this model.":                {after: Quirks{NoStream: true}},
	} {
		t.Run(words, func(t *testing.T) {
			p := &Provider{settings: newSettings(tc.before)}
			err := &llm.Error{Category: llm.ProviderUnsupported, Status: 400, Message: "the server answered 400 Bad Request: " + words}
			p.adapt(p.settings, err)
			if d := cmp.Diff(tc.after, p.settings.quirks); d != "" || err.Adapted == "" {
				t.Errorf("learned %q (-want +got):\n%s", err.Adapted, d)
			}
		})
	}
}

// A chat template that fails makes a 500 of it, in words of its own.
func TestTemplatesRefuseWith500(t *testing.T) {
	for words, learned := range map[string]string{
		"Unexpected role 'user' after role 'tool'":                      "a message of the user after a tool's result",
		"System role not supported":                                     "a system prompt",
		"This model only supports single tool-calls at once!":           "several calls in one message",
		"tool call ids should be alphanumeric strings with length 9!":   "the ids of tool calls",
		"Value is not callable: null at row 1 (jinja template)":         "the chat template",
		"jinja2.exceptions.UndefinedError: 'dict' has no attribute 'x'": "the chat template",
		"Failed to parse messages: Missing 'content', it is null":       "a message without text",
		"TemplateError: cannot apply a filter":                          "the chat template",
	} {
		p := &Provider{settings: newSettings(Quirks{})}
		err := &llm.Error{Category: llm.Overloaded, Status: 500, Message: words}
		if p.adapt(p.settings, err); !strings.HasPrefix(err.Adapted, learned) {
			t.Errorf("%s: %q", words, err.Adapted)
		}
	}
}

func TestLimitsAreLearned(t *testing.T) {
	for words, want := range map[string]int{
		"max_tokens is too large: 8192. This model supports at most 4096 completion tokens, whereas you provided 8192.": 4096,
		"`max_tokens` must be less than or equal to `4096`, the maximum value for it":                                   4096,
		"Range of max_tokens should be [1, 4096]":                                                                       4096,
		"Invalid max_tokens value, the valid range of max_tokens is [1, 4096]":                                          4096,
		"max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for this model":                  4096,
		"The maximum tokens you requested exceeds the model limit of 4096.":                                             4096,
	} {
		p := &Provider{settings: newSettings(Quirks{})}
		p.adapt(p.settings, &llm.Error{Category: llm.ProviderUnsupported, Status: 400, Message: words})
		if p.settings.maxTokens != want || p.settings.quirks.MaxTokensField != "" {
			t.Errorf("%s: %d, %+v", words, p.settings.maxTokens, p.settings.quirks)
		}
	}
}

// What is no refusal of a form teaches nothing, and what was changed to no avail is
// not changed again.
func TestNothingToLearn(t *testing.T) {
	const words = "Unexpected role 'user' after role 'tool'"
	for name, err := range map[string]*llm.Error{
		"a wrong key":  {Category: llm.CredentialConfig, Status: 401, Message: words},
		"too many":     {Category: llm.RateLimited, Status: 429, Message: words},
		"too long":     {Category: llm.ContextLength, Status: 400, Message: words},
		"no status":    {Category: llm.Overloaded, Message: words},
		"half a reply": {Category: llm.Overloaded, Status: 200, Message: words, Usage: llm.Usage{InputTokens: 1}},
		"other words":  {Category: llm.ProviderUnsupported, Status: 404, Message: "The model `x` does not exist"},
		"an overload":  {Category: llm.Overloaded, Status: 500, Message: "Internal server error"},
		"a failure that passes": {Category: llm.Overloaded, Status: 500, Message: "The server had an error processing your request. Sorry about that! " +
			"You can retry your request, or contact us through our help center. Please include the request ID req_1 in your message."},
		"an overload as 400":   {Category: llm.Overloaded, Status: 400, Message: "overloaded: content and tools are queued, temperature is not supported"},
		"inside a 200":         {Category: llm.ProviderUnsupported, Status: 200, Message: "the messages could not be read"},
		"what a model wrote":   {Category: llm.ModelQuality, Status: 500, Message: `error parsing tool call: raw='{"content": null, "temperature": 1, "file": "chat_template.jinja' err=invalid character`},
		"what Groq says of it": {Category: llm.ModelQuality, Status: 400, Message: "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details. (tool_use_failed)"},
		"a field in a failure": {Category: llm.Overloaded, Status: 500, Message: "message content is null: invalid max_tokens"},
		"opaque, not sent":     {Category: llm.ProviderUnsupported, Status: 400, Message: "extra_content: Extra inputs are not permitted"},
	} {
		p := &Provider{settings: newSettings(Quirks{})}
		if p.adapt(p.settings, err); err.Adapted != "" || cmp.Diff(Quirks{}, p.settings.quirks) != "" {
			t.Errorf("%s: %q", name, err.Adapted)
		}
	}
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		send(w, `{"error":{"message":"Unsupported parameters: content null, 'max_tokens', tool_choice, user after tool, stream_options, schema keyword format"}}`)
	}, Config{})
	changes := 0
	for failure(t, p, hello()).Adapted != "" {
		if changes++; changes > 20 {
			t.Fatal("it never ends")
		}
	}
	if changes < 3 {
		t.Errorf("%d changes", changes)
	}
}

// A refusal changes the next request, and only what it named.
func TestTheNextRequestIsAnother(t *testing.T) {
	var bodies []map[string]any
	p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		if bodies = append(bodies, body); len(bodies) == 1 {
			w.WriteHeader(http.StatusBadRequest)
			send(w, `{"error":{"message":"max_tokens is too large: 100. This model supports at most 50 completion tokens"}}`)
			return
		}
		says(message(`"content":"ok"`, "stop"))(w, r)
	}, Config{})
	if e := failure(t, p, long()); !strings.Contains(e.Adapted, "at most 50") {
		t.Errorf("%+v", e)
	}
	complete(t, p, long())
	if bodies[1]["max_tokens"] != 50.0 {
		t.Errorf("max_tokens %v", bodies[1]["max_tokens"])
	}
	bodies[1]["max_tokens"] = bodies[0]["max_tokens"]
	if d := cmp.Diff(bodies[0], bodies[1]); d != "" {
		t.Errorf("-first +second:\n%s", d)
	}
}
