package openai

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/llm"
)

func TestUsage(t *testing.T) {
	for name, tc := range map[string]struct {
		fields string
		want   llm.Usage
	}{
		"OpenAI": {`"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"prompt_tokens_details":{"cached_tokens":64,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":12}}`,
			llm.Usage{InputTokens: 100, CachedInputTokens: 64, OutputTokens: 20, ReasoningTokens: 12}},
		"Gemini, thoughts in the total only": {`"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":1620}`,
			llm.Usage{InputTokens: 100, OutputTokens: 1520, ReasoningTokens: 1500}},
		"Gemini, thoughts alone": {`"usage":{"prompt_tokens":100,"completion_tokens":0,"total_tokens":400}`,
			llm.Usage{InputTokens: 100, OutputTokens: 300, ReasoningTokens: 300}},
		"Gemini's own spelling": {`"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":20,"thoughtsTokenCount":300,"totalTokenCount":420,"cachedContentTokenCount":50}`,
			llm.Usage{InputTokens: 100, CachedInputTokens: 50, OutputTokens: 320, ReasoningTokens: 300}},
		"xAI, beside the output": {`"usage":{"prompt_tokens":100,"completion_tokens":500,"total_tokens":1000,"completion_tokens_details":{"reasoning_tokens":400}}`,
			llm.Usage{InputTokens: 100, OutputTokens: 900, ReasoningTokens: 400}},
		"beside the output, no total": {`"usage":{"prompt_tokens":100,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":20}}`,
			llm.Usage{InputTokens: 100, OutputTokens: 25, ReasoningTokens: 20}},
		"DeepSeek": {`"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}`,
			llm.Usage{InputTokens: 100, CachedInputTokens: 64, OutputTokens: 20}},
		"hits and misses alone": {`"usage":{"completion_tokens":20,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}`,
			llm.Usage{InputTokens: 100, CachedInputTokens: 64, OutputTokens: 20}},
		"Anthropic": {`"usage":{"input_tokens":10,"output_tokens":20,"cache_read_input_tokens":64,"cache_creation_input_tokens":26}`,
			llm.Usage{InputTokens: 100, CachedInputTokens: 64, OutputTokens: 20}},
		"Anthropic through LiteLLM": {`"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"cache_read_input_tokens":64,"cache_creation_input_tokens":0}`,
			llm.Usage{InputTokens: 100, CachedInputTokens: 64, OutputTokens: 20}},
		"Anthropic in OpenAI's names": {`"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":120,"cache_read_input_tokens":64,"cache_creation_input_tokens":26}`,
			llm.Usage{InputTokens: 100, CachedInputTokens: 64, OutputTokens: 20}},
		"OpenAI's newer names": {`"usage":{"input_tokens":100,"output_tokens":20,"total_tokens":120,"input_tokens_details":{"cached_tokens":64},"output_tokens_details":{"reasoning_tokens":12}}`,
			llm.Usage{InputTokens: 100, CachedInputTokens: 64, OutputTokens: 20, ReasoningTokens: 12}},
		"Moonshot, Groq": {`"usage":null,"x_groq":{"usage":{"prompt_tokens":"100","completion_tokens":20.0,"cached_tokens":64}}`,
			llm.Usage{InputTokens: 100, CachedInputTokens: 64, OutputTokens: 20}},
		"Ollama":    {`"prompt_eval_count":100,"eval_count":20`, llm.Usage{InputTokens: 100, OutputTokens: 20}},
		"llama.cpp": {`"timings":{"prompt_n":36,"cache_n":64,"predicted_n":20}`, llm.Usage{InputTokens: 100, CachedInputTokens: 64, OutputTokens: 20}},
		"odd types": {`"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":null,"prompt_tokens_details":[],"completion_tokens_details":"x","reasoning_tokens":-5}`,
			llm.Usage{InputTokens: 100, OutputTokens: 20}},
		"a total that is too small": {`"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":20}`, llm.Usage{InputTokens: 100, OutputTokens: 20}},
	} {
		t.Run(name, func(t *testing.T) {
			whole := `{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}],` + tc.fields + `}`
			stream := events(delta(`"content":"x"`), finish("stop"), `{"choices":[],`+tc.fields+`}`)
			for _, body := range []string{whole, stream} {
				got := complete(t, serve(t, says(body), Config{}), hello()).Usage
				if d := cmp.Diff(tc.want, got); d != "" {
					t.Errorf("-want +got:\n%s", d)
				}
			}
		})
	}
	// Counts that come in two events, the later without what the first had.
	body := events(`{"choices":[{"delta":{"content":"x"}}],"usage":{"input_tokens":100,"output_tokens":1}}`,
		`{"choices":[{"delta":{},"finish_reason":"stop","usage":{"completion_tokens":20}}]}`)
	got := complete(t, serve(t, says(body), Config{}), hello()).Usage
	if d := cmp.Diff(llm.Usage{InputTokens: 100, OutputTokens: 20}, got); d != "" {
		t.Errorf("in two events: %s", d)
	}
}
