package openai

import "github.com/sampan-dev/sampan/internal/llm"

// phrase is a row of the table by which failures are told apart.
type phrase struct {
	category llm.Category
	// by says whose words these are.
	by string
	// pattern is looked for in what one server said: codes, types and message, in
	// lower case, on one line. A group holds the tokens that the model takes.
	pattern string
	// in bounds the statuses for which the words mean that.
	in scope
}

// scope is a set of statuses. An error inside a 200 that names no status is in all.
type scope int

const (
	// always: the words are clear whatever the status is.
	always scope = iota
	// refusals are the 4xx.
	refusals
	// invalid are the statuses of a request that is refused for its form.
	invalid
	// trouble are the 5xx.
	trouble
	// not429: a limit of a rate uses the same words.
	not429
	// unasked: the server did not say when to come back, which it does for limits
	// that pass.
	unasked
)

// phrases are tried in their order, first on the words of the innermost server,
// then on those of each gateway around it; the first match decides. Where there is
// none, statuses do. Each row has its samples in testdata/errors.yaml.
var phrases = []phrase{
	// Words that would be taken for those of a later row.
	{llm.ContextLength, "OpenAI, Groq: one request above the tokens of a minute never passes",
		`request too large for .*limit:? (\d+)`, always},
	{llm.QuotaExceeded, "Gemini, OpenRouter, Bedrock, Cloudflare: used up for today",
		`per ?day(per|-)|free-models-per-day|daily free allocation|tokens per day, please wait|` +
			`(daily|weekly|monthly) (usage |token |request )?(limit|quota)`, always},
	{llm.RateLimited, "Bedrock, Gemini, Azure, Cerebras, LiteLLM: a limit of tokens or requests in a time",
		`per[-_ ]?(second|minute|hour)|please wait before trying again|token rate limit|tokens? per min|requests? per min|` +
			`\b(rpm|tpm|rpd|tpd)\b|requests per day|per-min\b|hourly (usage |token |request )?(limit|quota)`, always},
	{llm.ToolCallShapeMismatch, "OpenAI: an id of a call that is too long",
		`tool_calls?(\[\d+\])?\.id\b.*too long|tool_call_id.*too long`, invalid},
	{llm.ProviderUnsupported, "OpenAI: a name or a description of a tool that is too long",
		`(tools|functions)\[\d+\][a-z.]*(name|description|parameters).*too long`, invalid},
	{llm.ProviderUnsupported, "OpenAI, Anthropic, DashScope: the reply was allowed to be longer than the model can",
		`supports at most \d+ completion tokens|maximum allowed number of output tokens|range of max_tokens|` +
			`invalid max_tokens value|array too long`, invalid},

	// The conversation is too long.
	{llm.ContextLength, "Anthropic", `prompt is too long:? \d+ tokens > (\d+)|exceed context limit: \d+ \+ \d+ > (\d+)`, always},
	{llm.ContextLength, "OpenAI, Azure, DeepSeek, vLLM, OpenRouter, Groq", `maximum context length (?:is|of|:) ?(\d+)`, always},
	{llm.ContextLength, "Mistral, Fireworks", `too large for model with (\d+)|maximum context length: (\d+)`, always},
	{llm.ContextLength, "xAI, Moonshot, Copilot", `maximum prompt length is (\d+)|exceeded model token limit: ?(\d+)|` +
		`token count of \d+ exceeds the limit of (\d+)|max input tokens: (\d+)`, always},
	{llm.ContextLength, "Gemini, Vertex", `exceeds the maximum number of tokens(?: allowed)? \(?(\d+)`, always},
	{llm.ContextLength, "DashScope", `range of input length should be \[\d+, ?(\d+)\]`, always},
	{llm.ContextLength, "vLLM, SGLang", `maximum model length of (\d+)|model's context length \((\d+) tokens|max_model_len,? (\d+)`, always},
	{llm.ContextLength, "Databricks, SambaNova, SiliconFlow", `max(?:imum)? sequence length (?:of )?(\d+)|max_seq_len \((\d+)\)|max context is (\d+)`, always},
	{llm.ContextLength, "Gemini, Azure, proxies: a bound in bytes",
		`(request|payload|content)[ _-](body|payload|size|length|entity)( size)? (is |was )?(too large|exceed)|request_?(body|entity)?_?too_?large|body (is )?too large`, invalid},
	{llm.ContextLength, "TGI, Together", "max_new_tokens`? must be <= ?(\\d+)|`inputs` must have less than (\\d+)", always},
	{llm.ContextLength, "LM Studio, watsonx, Cloudflare, Cohere", `context length of (?:only )?(\d+)|total tokens limit (\d+)|` +
		`context window limit \((\d+)\)|tokens in the prompt cannot exceed (\d+)|while limit is (\d+)`, always},
	{llm.ContextLength, "Zhipu, llama.cpp, Ollama, Bedrock, SGLang, LiteLLM",
		`context_length|context length|context[ _]?window|context[ _]size|maximum context|prompt exceeds max length|` +
			`(prompt|input|message|conversation|history|context)s? (is|are|was|were) too (long|large)|request (is|was) too (long|large to process)|(prompt|input) too long|prompt_too_long|` +
			`max_prompt_tokens_exceeded|input tokens exceeded|input length .*(exceeds?|longer)|reduce (the|your) (length|message size|prompt)|` +
			`exceeds? the (model's )?(maximum|available|max)[a-z ]*(context|token|length)|longer than the maximum|maximum input (size|length)|total token length should be|` +
			`max_tokens must be at least 1, got -|request_too_large|string_above_max_length|(输入|提示|文本|prompt).{0,8}(过长|超长|超过)|超出.{0,8}上下文`, always},
	{llm.ContextLength, "any", `too many (input |prompt )?tokens|tokens? in (the )?request (is |are )?more than|token limit exceeded`, not429},

	// The account is used up. That which passes by itself is above.
	{llm.QuotaExceeded, "OpenAI, Azure, Moonshot, Gemini: also said of a limit that passes, and then with a delay",
		`insufficient_quota|exceeded_current_quota|exceeded your current quota`, unasked},
	{llm.RateLimited, "the same words, with a delay", `insufficient_quota|exceeded_current_quota|exceeded your current quota`, always},
	{llm.QuotaExceeded, "OpenAI, Anthropic, DeepSeek, xAI, Zhipu, OpenRouter, SiliconFlow, MiniMax",
		`insufficient[ _](user )?(balance|credits?|funds)|balance is (insufficient|too low)|balance not enough|credit balance|` +
			`out of credits|more credits|available credits|included credits|spending limit|billing[_ ]|payment required|` +
			`good standing|arrearage|overdue|欠费|余额不足|资源包`, refusals},
	{llm.QuotaExceeded, "LiteLLM, Copilot, watsonx, Azure, Zhipu, Ollama, Bedrock, DashScope",
		`budget[ _]?(has been )?exceeded|exceededbudget|over budget|quota_exceeded|have no quota|token_quota_reached|` +
			`configured quota was reached|call volume quota|(reached|exceeded).{0,24}usage limit|usage limit (reached|exceeded)|使用上限|servicequotaexceeded|` +
			`free tier of the model has been exhausted|freetieronly|upgrade (your plan|to continue)`, always},

	// The content is refused.
	{llm.ContentFilter, "Azure, OpenAI, Anthropic, DeepSeek, xAI, Moonshot, DashScope, Zhipu, OpenRouter, LiteLLM",
		`content[_ ]filter|content management policy|responsibleaipolicy|content[_ ]?policy|usage (policy|guidelines)|` +
			`safety (system|policy|filter|settings)|safety_check|requires moderation|input was flagged|content exists risk|` +
			`considered high risk|data_?inspection|inappropriate content|content_moderation|敏感|不安全`, refusals},

	// The setup is wrong.
	{llm.CredentialConfig, "OpenAI, Gemini, Anthropic, xAI, DeepSeek, LiteLLM, Moonshot, Zhipu, Copilot, Bedrock",
		`invalid[_ ](x-)?api[_ -]key|invalid x-api-key|incorrect api key|api key not valid|authentication[_ ]?error|authentication fails|` +
			`invalid[_ ]authentication|no api key|missing api key|api key (is )?(missing|invalid|required)|no auth credentials|` +
			`token[_ ](is )?expired|expired[_ ]token|security token|invalid subscription key|身份验证|token非法`, refusals},

	// The server is in trouble, which passes.
	{llm.ProviderUnsupported, "Ollama, LM Studio: the machine is too small for the model",
		`more system memory|insufficient system resources`, always},
	{llm.Overloaded, "Mistral, Moonshot, Azure, Zhipu, Bedrock, TGI, SGLang, Cloudflare, Cerebras",
		`overloaded|high (demand|traffic)|nocapacity|capacity (temporarily )?exceeded|queue(_exceeded| is full)|server busy|too busy|` +
			`modelnotready|degraded function|service unavailable|service_unavailable|访问量过大|apiconnectionerror`, always},
	{llm.Overloaded, "HF, LM Studio, llama.cpp: the model is being loaded",
		`(is currently |is )loading|loading model|model unloaded|has crashed|runner process`, always},
	{llm.Timeout, "LiteLLM, Gemini, Cloudflare, Envoy, DashScope: the server behind it was too slow",
		`litellm\.timeout|request timed out|request timeout|upstream request timeout|stream timeout|deadline_exceeded|internalerror\.timeout|` +
			`operation timed out|timeout_error|a timeout occurred|error code: 524`, not429},
	{llm.RateLimited, "any", `rate[-_ ]?limit|too many requests|throttl|resource_exhausted|resource has been exhausted|resource exhausted`, always},

	// The model wrote what its server cannot read.
	{llm.ModelQuality, "Groq, Ollama, llama.cpp, vLLM",
		`tool_use_failed|failed to call a function|error parsing tool call|failed to parse (input|tool call)|` +
			`unexpected tokens remaining in message|malformed_function_call`, always},

	// The request has a form that this server does not take.
	{llm.ProviderUnsupported, "vLLM, llama.cpp: started without what tools need", `requires --[a-z]|requires? .{0,20}--jinja`, always},
	{llm.ToolCallShapeMismatch, "llama.cpp, vLLM: the model's template fails, also said as 500",
		`jinja|chat[_ ]template|template error|roles must alternate|value is not callable`, trouble},
	{llm.ProviderUnsupported, "OpenAI, vLLM, Mistral, Gemini, Ollama, LiteLLM, OpenRouter, llama.cpp, LM Studio: a field, a model",
		`not support|unsupported|tool_choice|"auto" tool choice|parallel_tool_calls|stream_options|enable_thinking|` +
			`max_tokens|max_completion_tokens|temperature|unrecognized|unknown (name|field|parameter|argument)|extra (fields|inputs)|extra_forbidden|` +
			`model_not_found|model[a-z_ ]*does not exist|no such model|no models loaded|try pulling|no endpoints found|no route`, invalid},
	{llm.ToolCallShapeMismatch, "OpenAI, Anthropic, Bedrock, Gemini, Mistral, DeepSeek, Moonshot, Zhipu, DashScope, vLLM, TGI, LM Studio",
		`tool_calls?\b|tool call|tool message|tool_use|tool_result|toolresult|tooluse|function call|thought_signature|\barguments\b|` +
			`content (is|must be|cannot be|should be|field|blocks)|messages?[.\[]\d+|messages 参数|messages parameter|reasoning_content|` +
			`roles? must|last role|unexpected role|message_order|malformed input request|template error|jinja`, invalid},
}
