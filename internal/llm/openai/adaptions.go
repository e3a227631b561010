package openai

import (
	"strconv"
	"strings"
)

// adaption is something that servers refuse, and what to send them instead.
type adaption struct {
	// name says what was refused; each is answered once.
	name string
	// says finds it in the server's words.
	says pattern
	// learn changes the settings and says what is sent from here on; it is empty
	// where there is nothing left to change.
	learn func(s *settings, match []string) string
	// in bounds the failures whose words are believed.
	in believed
}

// believed is a set of failures, by how sure it is that one is about the request.
type believed int

const (
	// inRefusals: the server said that it does not take the request.
	inRefusals believed = iota
	// inFailures: chat templates that refuse a request end in 500, and these words
	// are too much of their own to stand in a failure that passes.
	inFailures
	// inTrouble is the same, but not where a server quotes what the model wrote.
	inTrouble
	// inBadRequests: nobody knows the words, so that the status has to say it.
	inBadRequests
)

// refused are the words around the name of what a server does not take.
const refused = `(?:unsupported|not supported|n't support|not support|not allowed|not permitted|extra|unknown|unrecognized|unrecognised|unexpected|additional|invalid|forbidden|not valid|not accepted|does not accept|no such field|cannot find field|incompatible)`

// near finds a name with such words before or behind it.
func near(name string) pattern {
	return compile(`(?is)` + refused + `.{0,160}?` + name + `|` + name + `.{0,160}?` + refused)
}

func spelling(words string) pattern { return compile(`(?is)` + words) }

// adaptions is what is known of the words of OpenAI, Azure, Anthropic, Bedrock,
// Gemini, Mistral, DeepSeek, xAI, Moonshot, Groq, Cerebras, OpenRouter, LiteLLM,
// vLLM, SGLang, TGI, llama.cpp, Ollama, Cloudflare and of the templates that come
// with open models. The first that fits and has something left to change counts.
var adaptions = []adaption{
	{"the limit of output tokens", spelling(`(?:max_tokens|max_completion_tokens|maxtokens|max_new_tokens|completion tokens).*?(?:at most|less than or equal to|<=|maximum(?: value| allowed)?(?: is| of)?|must be in|should be (?:in )?\[\d+,|limit of|up to|exceeds(?: the)?(?: limit| maximum)?(?: of)?)\D{0,30}(\d{2,7})|` +
		`range of max_\w+ (?:is|should be) \[\s*\d+\s*,\s*(\d+)|max_tokens: \d+ > (\d+)|maximum tokens you requested exceeds the model limit of (\d+)`), learnMaxTokens, inRefusals},
	{"the field of that limit", spelling(`use ['"\x60]?(max_completion_tokens|max_tokens)\b`), func(s *settings, match []string) string {
		return set(&s.quirks.MaxTokensField, match[1], match[1]+" is sent")
	}, inRefusals},
	{"max_completion_tokens", near(`max_completion_tokens['"\x60]?\s*(?:is|are|:|,|$|\.|'|"|\x60)`), learnMaxTokensField(MaxCompletionTokens, MaxTokens), inRefusals},
	{"max_tokens", near(`['"\x60 .:]max_tokens\b`), learnMaxTokensField(MaxTokens, MaxCompletionTokens), inRefusals},
	{"parallel_tool_calls", near(`parallel_tool_calls`), func(s *settings, _ []string) string {
		if s.quirks.ParallelToolCalls == nil {
			return ""
		}
		s.quirks.ParallelToolCalls = nil
		return "parallel_tool_calls is not sent"
	}, inFailures},
	{"tool_choice", near(`tool_choice`), learnToolChoice, inFailures},
	{"stream_options", near(`stream_options|include_usage`), func(s *settings, _ []string) string {
		if s.quirks.NoStreamUsage {
			return ""
		}
		s.quirks.NoStreamUsage = true
		return "stream_options is not sent"
	}, inFailures},
	{"temperature", near(`temperature`), func(s *settings, _ []string) string {
		if s.quirks.Temperature == nil {
			return ""
		}
		s.quirks.Temperature = nil
		return "temperature is not sent"
	}, inRefusals},
	{"streaming", spelling(`stream(?:ing|ed)?\b.{0,40}(?:not supported|unsupported|n't support|not allowed|must be false)|(?:not support|unsupported|n't support|cannot use tools with|verified to) stream`), func(s *settings, _ []string) string {
		if s.quirks.NoStream {
			return ""
		}
		s.quirks.NoStream = true
		return "whole responses are asked for"
	}, inFailures},

	{"calls without thought signatures", spelling(`missing a thought.?signature|thought.?signature.{0,60}(?:missing|required|must be|is not set)|(?:corrupted|invalid) thought.?signature|thought.?signature is not valid`), func(s *settings, _ []string) string {
		return set(&s.quirks.ThoughtSignatures, ThoughtSignaturesFill, "Google's placeholder is sent where a call has no signature")
	}, inFailures},
	{"missing reasoning_content", spelling(`(?:missing|must be (?:passed|sent|provided|included)|required|is missing|needs?).{0,80}reasoning_content|reasoning_content.{0,80}(?:missing|must be (?:passed|sent|provided|included)|required)`), func(s *settings, _ []string) string {
		return set(&s.quirks.ReplayReasoning, ReplayRequired, "reasoning_content is sent with each message that calls tools")
	}, inFailures},
	{"reasoning in messages", near(`['"\x60 .:](?:reasoning_content|reasoning_text|reasoning)\b`), func(s *settings, _ []string) string {
		if s.quirks.ReplayReasoning == "" {
			return ""
		}
		return set(&s.quirks.ReplayReasoning, ReplayNever, "reasoning is not sent back")
	}, inRefusals},
	{"opaque fields", near(`(?:extra_content|provider_specific_fields|reasoning_details|thinking_blocks|reasoning_opaque|reasoning_signature|thought_signature|encrypted_content|tool_calls?[\[.\]\d]*\.\w+|messages?[\[.\]\d]+[\w.\[\]]*)`), learnOpaque, inRefusals},
	{"signed thoughts", spelling(`invalid.{0,20}signature.{0,40}thinking|thinking.{0,60}signature.{0,40}(?:invalid|not match)`), learnOpaque, inRefusals},

	{"the ids of tool calls", spelling(`(?:tool.?call.?id|tool_call_id|tool_use[._]?id|tooluseid|tool_use\.id|tool_result|tool_calls?[\[.\]\d]*\.id|call_id).{0,200}(?:length|too long|pattern|match|must be|characters|alphanumeric|a-z)|string too long.{0,120}tool_calls?.{0,20}\bid\b`), func(s *settings, _ []string) string {
		return set(&s.quirks.ToolCallIDs, ToolCallIDsAlnum9, "they are sent as nine letters and digits")
	}, inFailures},
	{"several calls in one message", spelling(`single tool.?calls? at once|only supports? (?:a )?single tool|one tool.?call (?:per|at a time|is supported)|multiple tool.?calls (?:are|is)? ?not supported|parallel (?:tool|function).?call(?:s|ing)? (?:is|are)? ?not supported`), func(s *settings, _ []string) string {
		if s.quirks.OneCallPerMessage {
			return ""
		}
		s.quirks.OneCallPerMessage = true
		return "each call is sent as a message of its own"
	}, inFailures},
	{"a system prompt", spelling(`system (?:role|message|prompt|instruction)s?.{0,40}(?:not supported|unsupported|not allowed|not enabled|n't support)|(?:not support|unsupported|n't support).{0,60}['"]?system['"]? ?(?:role|message|prompt)?|developer instruction is not enabled|role.{0,30}['"]system['"].{0,60}(?:not supported|invalid|not allowed)`), func(s *settings, _ []string) string {
		return set(&s.quirks.SystemRole, RoleUser, "it is sent as the beginning of the user's first message")
	}, inFailures},
	{"a message of the user after a tool's result", spelling(`role 'user' after role 'tool'|role "?user"? after|unexpected role|roles? must alternate|(?:must|should|need to) alternate|alternate (?:between )?(?:user|assistant)|multiple .{0,10}user.{0,10} roles? in a row|successive user|consecutive (?:user|messages)|expected last role|user message.{0,40}(?:after|follow).{0,30}tool|tool.{0,40}followed by.{0,20}assistant|function (?:call|response) turn comes`), func(s *settings, _ []string) string {
		return set(&s.quirks.UserAfterTool, UserAfterToolFold, "it is sent as a part of the result")
	}, inFailures},

	{"tool messages without a name", spelling(`function_response\.name|(?:tool|function) (?:message|response|result).{0,60}name.{0,40}(?:empty|required|missing)|missing.{0,20}\bname\b.{0,40}(?:tool|function) (?:message|response)`), func(s *settings, _ []string) string {
		if s.quirks.ToolMessageName {
			return ""
		}
		s.quirks.ToolMessageName = true
		return "the tool's name is sent"
	}, inRefusals},
	{"a message without text", spelling(`\bcontent.{0,80}(?:none is not|null|nil|nonetype|is required|required|missing|valid string|must be (?:a |of type )?string|expected (?:a )?string|cannot be (?:null|empty|blank)|must not be (?:null|empty|blank)|non-empty|non-whitespace|is blank|is empty|at least one)|` +
		`(?:missing field|required property|field required|null value|invalid type: null).{0,80}\bcontent|text field.{0,80}blank|must have either content or tool_calls|message at (?:position|index).{0,60}must not be empty`), learnNullContent, inRefusals},
	{"empty content beside calls", spelling(`\bcontent.{0,80}(?:empty|blank|non-empty|non-whitespace|at least one)|text field.{0,80}blank`), learnOtherContent, inRefusals},
	{"null and missing content beside calls", spelling(`\bcontent.{0,80}(?:null|none|required|missing|string|empty|blank)`), learnContentText, inRefusals},

	{"the keywords of tool schemas", spelling(`\$schema|additionalproperties|exclusiveminimum|exclusivemaximum|\$ref|\$defs|anyof|oneof|patternproperties|propertynames|unevaluatedproperties|` +
		`(?:unknown name|cannot find field|unsupported|not supported|unrecognized|invalid|not permitted|n't support).{0,120}(?:schema|parameters|function_declarations|\.properties|keyword|"?format"?|"?default"?|"?title"?|"?const"?)|` +
		`(?:schema|parameters|function_declarations|input_schema).{0,120}(?:invalid|unsupported|not supported|should be non-empty|unknown|not permitted|must be)`), func(s *settings, _ []string) string {
		return set(&s.quirks.ToolSchemas, ToolSchemasPlain, "plain schemas are sent")
	}, inRefusals},

	// Nobody knows what it is: the most careful form, once.
	{"the chat template", spelling(`\btemplate(?:error|syntaxerror| error|[ _]render|.{0,40}(?:fail|exception|raise))|\b(?:chat|prompt)[ _]template\b|\bjinja2?(?:\.|:|[ _](?:exception|template|error))|raise_exception`), learnCarefulForm, inTrouble},
	{"the form of the request", spelling(`\b(?:messages?|roles?|content|tools?|tool_calls?|schema|template|jinja|parameters?|arguments?|json|validation|format|fields?|invalid.request|bad.request|malformed)\b|参数`), learnCarefulForm, inBadRequests},
}

// set changes a quirk, unless it says so already.
func set(quirk *string, value, what string) string {
	if *quirk == value {
		return ""
	}
	*quirk = value
	return what
}

// learnCarefulForm is for words that are not known: all that some server is known
// to refuse is left out.
func learnCarefulForm(s *settings, _ []string) string {
	q := &s.quirks
	q.UserAfterTool, q.ToolCallIDs, q.OpaqueFields = UserAfterToolFold, ToolCallIDsAlnum9, OpaqueFieldsDrop
	q.NullContent, q.ToolSchemas, q.ToolChoice, q.NoStreamUsage = NullContentText, ToolSchemasPlain, ToolChoiceOmit, true
	q.OneCallPerMessage, q.ParallelToolCalls, q.Temperature = true, nil, nil
	if q.ReplayReasoning != ReplayRequired {
		q.ReplayReasoning = ReplayNever
	}
	return "the most careful form is sent"
}

func learnMaxTokens(s *settings, match []string) string {
	number := strings.Join(match[1:], "") // one group of several
	most, err := strconv.Atoi(number)
	if err != nil || most < 16 || s.maxTokens > 0 && s.maxTokens <= most {
		return ""
	}
	s.maxTokens = most
	return "at most " + number + " are asked for"
}

// learnMaxTokensField turns from one field to the other, and to none once both
// were refused.
func learnMaxTokensField(field, other string) func(*settings, []string) string {
	return func(s *settings, _ []string) string {
		if s.quirks.MaxTokensField == MaxTokensNone || s.quirks.MaxTokensField == other {
			return ""
		}
		if s.done[other] {
			s.quirks.MaxTokensField = MaxTokensNone
			return "no limit is sent"
		}
		s.quirks.MaxTokensField = other
		return other + " is sent instead of " + field
	}
}

func learnToolChoice(s *settings, _ []string) string {
	switch s.quirks.ToolChoice {
	case ToolChoiceOmit:
		return ""
	case ToolChoiceRequired, ToolChoiceAlways:
		s.quirks.ToolChoice = ToolChoiceAuto
		return `"auto" is sent`
	}
	s.quirks.ToolChoice = ToolChoiceOmit
	return "it is not sent"
}

func learnOpaque(s *settings, _ []string) string {
	if !s.opaque {
		return "" // none was sent
	}
	return set(&s.quirks.OpaqueFields, OpaqueFieldsDrop, "they are not sent back")
}

func learnNullContent(s *settings, _ []string) string {
	switch s.quirks.NullContent {
	case "", NullContentNull:
		return set(&s.quirks.NullContent, NullContentEmpty, "empty text is sent")
	}
	return ""
}

func learnOtherContent(s *settings, _ []string) string {
	if s.quirks.NullContent != NullContentEmpty {
		return ""
	}
	return set(&s.quirks.NullContent, NullContentOmit, "no content is sent")
}

func learnContentText(s *settings, _ []string) string {
	if s.quirks.NullContent != NullContentEmpty && s.quirks.NullContent != NullContentOmit {
		return ""
	}
	return set(&s.quirks.NullContent, NullContentText, "a few words are sent")
}
