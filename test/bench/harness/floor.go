package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"

	"github.com/sashabaranov/go-openai"

	"github.com/sampan-dev/sampan/internal/llm/scripted"
)

// runFloor is the least that a loop can do: a client, bash -c, and a line on
// disk before and after each command. It has no limits, no context, no tools
// but one, and believes everything that the server says.
func runFloor(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: floor URL TASK PROMPT")
	}
	cfg := openai.DefaultConfig("")
	cfg.BaseURL = args[0]
	cfg.HTTPClient = tagged{args[1]}
	client := openai.NewClientWithConfig(cfg)
	record, err := os.Create("floor.jsonl")
	if err != nil {
		return err
	}
	defer record.Close() //nolint:errcheck // every line was synced
	req := openai.ChatCompletionRequest{
		Model:    "bench",
		Messages: []openai.ChatCompletionMessage{{Role: openai.ChatMessageRoleUser, Content: args[2]}},
		Tools: []openai.Tool{{Type: openai.ToolTypeFunction, Function: &openai.FunctionDefinition{
			Name: "bash", Parameters: json.RawMessage(`{"type":"object","properties":{"command":{"type":"string"}}}`),
		}}},
	}
	for {
		resp, err := client.CreateChatCompletion(context.Background(), req)
		if err != nil {
			return err
		}
		reply := resp.Choices[0].Message
		req.Messages = append(req.Messages, reply)
		if err := line(record, reply); err != nil || len(reply.ToolCalls) == 0 {
			return err
		}
		for _, call := range reply.ToolCalls {
			var args struct{ Command string }
			if err := json.Unmarshal([]byte(call.Function.Arguments), &args); err != nil {
				return err
			}
			out, _ := exec.CommandContext(context.Background(), "bash", "-c", args.Command).CombinedOutput() // its failure is the model's to see
			result := openai.ChatCompletionMessage{Role: openai.ChatMessageRoleTool, Content: string(out) + "[exit code 0]", ToolCallID: call.ID}
			req.Messages = append(req.Messages, result)
			if err := line(record, result); err != nil {
				return err
			}
		}
	}
}

func line(f *os.File, v any) error {
	if err := json.NewEncoder(f).Encode(v); err != nil {
		return err
	}
	return f.Sync()
}

// tagged sends the task's name, by which the server lists requests.
type tagged struct{ task string }

// Do implements openai.HTTPDoer.
func (t tagged) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set(scripted.TaskHeader, t.task)
	return http.DefaultClient.Do(req)
}
