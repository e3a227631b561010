package openai

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/llm"
)

// FuzzStream reads any bytes as a stream: no panic, a reply or an error, and the
// same one however the bytes are cut into reads.
func FuzzStream(f *testing.F) {
	f.Add(events(delta(`"content":"Hel"`), delta(`"content":"lo"`), finish("stop"), `{"choices":[],"usage":{"prompt_tokens":1}}`))
	f.Add(events(delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":"{\"comm"}}]`),
		delta(`"tool_calls":[{"index":"0","function":{"arguments":"and\":1,}"}},{"id":7,"function":{"name":"list","arguments":{}}}]`), finish("length")))
	f.Add("event: error\ndata: {\"error\":\"boom\"}\n\n")
	f.Add("data: {\"choices\":\ndata: [{\"delta\":{\"content\":[{\"text\":\"x\"}]}}]}\n\n: c\r\ndata:[DONE]")
	f.Add(events(delta(`"content":"<think>x</think><tool_call>{\"name\":\"bash\",\"arguments\":{\"command\":\"\"}}"`)))
	f.Fuzz(func(t *testing.T, body string) {
		one, oneErr := read(strings.NewReader(body))
		two, twoErr := read(iotest.OneByteReader(strings.NewReader(body)))
		if (oneErr == nil) != (twoErr == nil) {
			t.Fatalf("whole: %v, byte by byte: %v", oneErr, twoErr)
		}
		if oneErr != nil {
			return
		}
		if d := cmp.Diff(one, two); d != "" {
			t.Fatal(d)
		}
		ids := map[string]bool{}
		for _, c := range one.Message.ToolCalls {
			if c.ID == "" || ids[c.ID] || c.Arguments == "" {
				t.Fatalf("call %+v", c)
			}
			ids[c.ID] = true
		}
		if one.FinishReason == llm.FinishToolCalls && len(ids) == 0 {
			t.Fatal("finish reason tool_calls without calls")
		}
	})
}

// read takes a stream through everything but the connection.
func read(body io.Reader) (*llm.Response, error) {
	x := &exchange{req: hello(), quirks: Quirks{TextToolCalls: TextToolCallsSalvage}}
	a := &assembly{known: x.hasTool}
	if err := (&replyReader{events: eventReader{r: bufio.NewReader(body)}}).read(a); err != nil {
		return nil, err
	}
	r, failed := x.judge(a)
	if failed != nil {
		return nil, failed
	}
	return &llm.Response{
		Message:      llm.Message{Content: r.content, Reasoning: r.reasoning, ToolCalls: r.calls},
		FinishReason: r.finish, Usage: r.usage, Notes: r.notes, Model: r.model,
	}, nil
}

// FuzzWhole reads any bytes as a whole response or as an error.
func FuzzWhole(f *testing.F) {
	f.Add([]byte(message(`"content":null,"tool_calls":{"id":1,"name":"bash","arguments":{}}`, "stop")))
	f.Add([]byte(`{"error":{"message":["a"],"code":1.5}}`))
	f.Add([]byte(`[[[{"detail":[{"msg":"x"}]}]]]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := &assembly{known: func(string) bool { return true }}
		err := (&replyReader{events: eventReader{r: bufio.NewReader(bytes.NewReader(body))}}).read(a)
		var said *saidError
		if err != nil && !errors.Is(err, errMalformed) && !errors.Is(err, errTruncated) && !errors.Is(err, errTooLarge) && !errors.As(err, &said) {
			t.Fatal(err)
		}
		if e := ErrorFromStatus(http.StatusBadRequest, nil, body, time.Time{}); len(e.Message) > maxMessage+200 {
			t.Fatalf("message of %d bytes", len(e.Message))
		}
	})
}

// FuzzArguments: never empty, a valid object stays what it means, and what was
// repaired is an object.
func FuzzArguments(f *testing.F) {
	for _, s := range []string{"", "null", "{}", `{"a":1,}`, `{"a":"b`, `{'a': 'b'}`, `"{\"a\":1}"`, `{"a":[1,2`, "```json\n{}\n```", `[1]`, `{"a":tr`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, repaired := normalizeArguments(text, true)
		if got == "" {
			t.Fatal("empty")
		}
		var before, after any
		if repaired && !isObject(got) {
			t.Fatalf("repaired %q to %q", text, got)
		}
		if isObject(text) {
			if json.Unmarshal([]byte(text), &before) != nil || json.Unmarshal([]byte(got), &after) != nil || !cmp.Equal(before, after) {
				t.Fatalf("%q became %q", text, got)
			}
		}
		if kept, _ := normalizeArguments(text, false); !json.Valid([]byte(strings.TrimSpace(text))) && strings.TrimSpace(text) != "" && kept != text {
			t.Fatalf("without repair, %q became %q", text, kept)
		}
		if sendable := sendableArguments(got); !isObject(sendable) {
			t.Fatalf("not sendable: %q", sendable)
		}
	})
}
