package openai

import "github.com/sampan-dev/sampan/internal/llm"

// wireUsage is usage in the spellings of OpenAI, DeepSeek, Moonshot, xAI,
// Anthropic, Gemini, Ollama and those who pass them on.
type wireUsage struct {
	PromptTokens     flexInt `json:"prompt_tokens"`
	CompletionTokens flexInt `json:"completion_tokens"`
	InputTokens      flexInt `json:"input_tokens"`
	OutputTokens     flexInt `json:"output_tokens"`
	TotalTokens      flexInt `json:"total_tokens"`

	PromptDetails     wireUsageDetails `json:"prompt_tokens_details"`
	InputDetails      wireUsageDetails `json:"input_tokens_details"`
	CompletionDetails wireUsageDetails `json:"completion_tokens_details"`
	OutputDetails     wireUsageDetails `json:"output_tokens_details"`
	ReasoningTokens   flexInt          `json:"reasoning_tokens"`

	CachedTokens    flexInt `json:"cached_tokens"`
	CacheHitTokens  flexInt `json:"prompt_cache_hit_tokens"`
	CacheMissTokens flexInt `json:"prompt_cache_miss_tokens"`
	CacheRead       flexInt `json:"cache_read_input_tokens"`
	CacheCreation   flexInt `json:"cache_creation_input_tokens"`

	// Gemini's own spelling, which some gateways leave as it is.
	GeminiPrompt     flexInt `json:"promptTokenCount"`
	GeminiCandidates flexInt `json:"candidatesTokenCount"`
	GeminiThoughts   flexInt `json:"thoughtsTokenCount"`
	GeminiCached     flexInt `json:"cachedContentTokenCount"`
	GeminiTotal      flexInt `json:"totalTokenCount"`
}

type wireUsageDetails struct {
	CachedTokens    flexInt `json:"cached_tokens"`
	ReasoningTokens flexInt `json:"reasoning_tokens"`
}

// neutral gives the usage in our terms, or nil when it says nothing.
func (u *wireUsage) neutral() *llm.Usage {
	if u == nil {
		return nil
	}
	input := first(u.PromptTokens, u.InputTokens, u.GeminiPrompt)
	if input == 0 {
		input = above0(u.CacheHitTokens) + above0(u.CacheMissTokens)
	}
	out := llm.Usage{
		InputTokens: input,
		CachedInputTokens: first(u.PromptDetails.CachedTokens, u.InputDetails.CachedTokens, u.CacheHitTokens,
			u.CachedTokens, u.CacheRead, u.GeminiCached),
		OutputTokens:    first(u.CompletionTokens, u.OutputTokens, u.GeminiCandidates),
		ReasoningTokens: first(u.CompletionDetails.ReasoningTokens, u.OutputDetails.ReasoningTokens, u.ReasoningTokens, u.GeminiThoughts),
	}
	u.addCacheBeside(&out)
	u.addHidden(&out)
	if out.InputTokens == 0 && out.OutputTokens == 0 {
		return nil
	}
	out.CachedInputTokens = min(out.CachedInputTokens, out.InputTokens)
	return &out
}

// addCacheBeside adds the cached input where the server counts it beside the rest,
// as Anthropic does: input_tokens is then only what was not in the cache.
func (u *wireUsage) addCacheBeside(out *llm.Usage) {
	cache := above0(u.CacheRead) + above0(u.CacheCreation)
	if cache == 0 {
		return
	}
	anthropic := u.PromptTokens.value <= 0 && !u.InputDetails.CachedTokens.present
	beside := out.InputTokens + out.OutputTokens + cache
	if anthropic || cache > out.InputTokens || u.TotalTokens.value == beside {
		out.InputTokens += cache
	}
}

// addHidden adds thinking that the server counts beside the output: what only the
// total has, or, without a total, reasoning that is more than the output it would
// be a part of. It is billed as output all the same.
func (u *wireUsage) addHidden(out *llm.Usage) {
	hidden := first(u.TotalTokens, u.GeminiTotal) - out.InputTokens - out.OutputTokens
	switch {
	case hidden > 0:
		out.OutputTokens += hidden
		out.ReasoningTokens = max(out.ReasoningTokens, hidden)
	case first(u.TotalTokens, u.GeminiTotal) == 0 && (out.ReasoningTokens > out.OutputTokens || u.GeminiThoughts.value > 0):
		out.OutputTokens += out.ReasoningTokens
	}
	out.ReasoningTokens = min(out.ReasoningTokens, out.OutputTokens)
}

// merged takes a later report of the same reply. Streams report the sum so far, and
// some leave out in the last report what they said in the first.
func merged(before, later *llm.Usage) *llm.Usage {
	if before == nil || later == nil {
		if later == nil {
			return before
		}
		return later
	}
	return &llm.Usage{
		InputTokens:       max(before.InputTokens, later.InputTokens),
		CachedInputTokens: max(before.CachedInputTokens, later.CachedInputTokens),
		OutputTokens:      max(before.OutputTokens, later.OutputTokens),
		ReasoningTokens:   max(before.ReasoningTokens, later.ReasoningTokens),
	}
}

// first is the first number that is above zero.
func first(values ...flexInt) int64 {
	for _, v := range values {
		if v.value > 0 {
			return v.value
		}
	}
	return 0
}

func above0(v flexInt) int64 { return max(v.value, 0) }

// wireTimings is how llama.cpp counts where it sends no usage.
type wireTimings struct {
	Prompt    flexInt `json:"prompt_n"`
	Cached    flexInt `json:"cache_n"`
	Predicted flexInt `json:"predicted_n"`
}

func (t *wireTimings) neutral() *llm.Usage {
	if t == nil || t.Predicted.value <= 0 {
		return nil
	}
	cached := above0(t.Cached)
	return &llm.Usage{
		InputTokens: above0(t.Prompt) + cached, CachedInputTokens: cached, OutputTokens: t.Predicted.value,
	}
}

// usage finds the counts in an event or response, wherever the server put them.
func (r *wireResponse) usage() *llm.Usage {
	found := r.Usage.neutral()
	for _, u := range []*wireUsage{r.GeminiUsage, r.Groq.Usage} {
		found = merged(found, u.neutral())
	}
	for i := range r.Choices {
		found = merged(found, r.Choices[i].Usage.neutral())
	}
	if found == nil {
		ollama := wireUsage{PromptTokens: r.OllamaPrompt, CompletionTokens: r.OllamaEval}
		found = merged(r.Timings.neutral(), ollama.neutral())
	}
	return found
}
