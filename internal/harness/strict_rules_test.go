package harness

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// strictRequest is a request as a server sees it.
type strictRequest struct {
	body     map[string]any
	messages []map[string]any
}

func newStrictRequest(body map[string]any) *strictRequest {
	r := &strictRequest{body: body}
	list, _ := body["messages"].([]any)
	for _, m := range list {
		message, _ := m.(map[string]any)
		r.messages = append(r.messages, message)
	}
	return r
}

func callsOf(m map[string]any) []map[string]any {
	list, _ := m["tool_calls"].([]any)
	out := make([]map[string]any, len(list))
	for i, c := range list {
		out[i], _ = c.(map[string]any)
	}
	return out
}

func blank(m map[string]any) bool {
	text, _ := m["content"].(string)
	return strings.TrimSpace(text) == ""
}

// rule gives the words with which a server refuses a request, or nothing.
type rule func(*strictRequest) string

// eachMessage is a rule for messages by themselves: %d in words is the index.
func eachMessage(words string, bad func(m map[string]any) bool) rule {
	return func(r *strictRequest) string {
		for i, m := range r.messages {
			if bad(m) {
				if strings.Contains(words, "%d") {
					return fmt.Sprintf(words, i)
				}
				return words
			}
		}
		return ""
	}
}

var goodName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// everyServer is what no server takes, so that nothing can be learned of it.
var everyServer = []rule{
	eachMessage("broken: a blank message", func(m map[string]any) bool {
		return blank(m) && len(callsOf(m)) == 0
	}),
	eachMessage("broken: a blank text", func(m map[string]any) bool {
		text, isText := m["content"].(string)
		return isText && text != "" && strings.TrimSpace(text) == ""
	}),
	eachMessage("broken: a name or arguments that cannot be", func(m map[string]any) bool {
		return slices.ContainsFunc(callsOf(m), func(c map[string]any) bool {
			f, _ := c["function"].(map[string]any)
			name, _ := f["name"].(string)
			arguments, _ := f["arguments"].(string)
			var object map[string]any
			return !goodName.MatchString(name) || json.Unmarshal([]byte(arguments), &object) != nil || c["type"] != "function"
		})
	}),
	func(r *strictRequest) string { // each call is answered right behind it, once
		var open []any
		for i, m := range r.messages {
			if m["role"] == "tool" {
				at := slices.Index(open, m["tool_call_id"])
				if at < 0 {
					return "broken: an answer without its call"
				}
				open = slices.Delete(open, at, at+1)
				continue
			}
			if len(open) > 0 || m["role"] == "system" && i > 0 {
				return "broken: a call without its answer, or a system prompt in the middle"
			}
			for _, c := range callsOf(m) {
				open = append(open, c["id"])
			}
		}
		return ""
	},
}

func noRoleAfter(words string, first, second string) rule {
	return func(r *strictRequest) string {
		for i := 1; i < len(r.messages); i++ {
			if r.messages[i-1]["role"] == first && r.messages[i]["role"] == second {
				return words
			}
		}
		return ""
	}
}

func noNull(words string) rule {
	return eachMessage(words, func(m map[string]any) bool { v, there := m["content"]; return there && v == nil })
}

func noMissing(words string) rule {
	return eachMessage(words, func(m map[string]any) bool { _, there := m["content"]; return !there })
}

func noEmpty(words string) rule {
	return eachMessage(words, func(m map[string]any) bool { return m["content"] == "" })
}

func idsLike(pattern, words string) rule {
	good := regexp.MustCompile(pattern)
	return func(r *strictRequest) string {
		for _, m := range r.messages {
			for _, c := range callsOf(m) {
				if id, _ := c["id"].(string); !good.MatchString(id) {
					return fmt.Sprintf(words, id)
				}
			}
		}
		return ""
	}
}

// firstCall is a rule for the first call of each message that has any.
func firstCall(words, field, value string) rule {
	return eachMessage(words, func(m map[string]any) bool {
		calls := callsOf(m)
		if len(calls) == 0 {
			return false
		}
		got, _ := json.Marshal(calls[0][field])
		return !strings.Contains(string(got), value)
	})
}

// besideCalls wants a field in each message that has calls.
func besideCalls(words, field string) rule {
	return eachMessage(words, func(m map[string]any) bool { _, there := m[field]; return len(callsOf(m)) > 0 && !there })
}

func knownFields(words string, fields ...string) rule {
	return func(r *strictRequest) string {
		for i, m := range r.messages {
			for name := range m {
				if !slices.Contains(fields, name) {
					return fmt.Sprintf(words, i, name)
				}
			}
			for _, c := range callsOf(m) {
				for name := range c {
					if name != "id" && name != "type" && name != "function" {
						return fmt.Sprintf(words, i, "tool_calls.0."+name)
					}
				}
			}
		}
		return ""
	}
}

var chatFields = []string{"role", "content", "tool_calls", "tool_call_id", "name"}

func noField(name, words string) rule {
	return func(r *strictRequest) string {
		if _, there := r.body[name]; there {
			return words
		}
		return ""
	}
}

func atMost(name string, most float64, words string) rule {
	return func(r *strictRequest) string {
		if n, _ := r.body[name].(float64); n > most {
			return words
		}
		return ""
	}
}

// plainSchemas refuses keywords anywhere in the tools, and lists of types.
func plainSchemas(words string, keywords ...string) rule {
	return func(r *strictRequest) string {
		text, _ := json.Marshal(r.body["tools"])
		for _, k := range keywords {
			if strings.Contains(string(text), `"`+k+`":`) {
				return fmt.Sprintf(words, k)
			}
		}
		if strings.Contains(string(text), `"type":[`) {
			return fmt.Sprintf(words, "type")
		}
		return ""
	}
}

// noEmptyObjects refuses parameters without properties.
func noEmptyObjects(words string) rule {
	return func(r *strictRequest) string {
		text, _ := json.Marshal(r.body["tools"])
		if strings.Contains(string(text), `"properties":{}`) {
			return words
		}
		return ""
	}
}

func oneCallAtOnce(words string) rule {
	return eachMessage(words, func(m map[string]any) bool { return len(callsOf(m)) > 1 })
}

func namedResults(words string) rule {
	return eachMessage(words, func(m map[string]any) bool {
		name, _ := m["name"].(string)
		return m["role"] == "tool" && name == ""
	})
}
