package openai

import (
	"encoding/json"
	"maps"
	"strings"
)

// leadIn is what may stand between markup and the JSON behind it.
var leadIn = compile("^\\s*(?:```(?:json|JSON)?\\s*)?")

// readJSONCalls reads JSON that says name and arguments, once or more.
func readJSONCalls(l *lookup, rest, _ string) ([]textCall, int) {
	at := len(leadIn.FindString(rest))
	calls, n := l.readJSON(rest[at:], true)
	return calls, at + n
}

// readBareJSON reads JSON with a name and arguments, without any markup.
func readBareJSON(l *lookup, rest, _ string) ([]textCall, int) { return l.readJSON(rest, false) }

// readJSON reads one or more JSON values with calls in them. marked says that
// markup stands before it: a name then is enough.
func (l *lookup) readJSON(text string, marked bool) ([]textCall, int) {
	var calls []textCall
	end := 0
	for at := 0; at < len(text) && len(calls) < maxTextCalls; {
		value, n, whole := l.jsonValue(text[at:])
		if n == 0 {
			break
		}
		var got []textCall
		if whole {
			got = l.callsIn(value, marked, 4)
		} else if call, ok := l.cutCall(text[at:at+n], marked); ok {
			got = []textCall{call}
		}
		if len(got) == 0 {
			break
		}
		calls = append(calls, got...)
		end = at + n
		at = end + len(between.FindString(text[end:]))
	}
	return calls, end
}

// between is what separates calls that follow each other.
var between = compile(`^[\s;,]*`)

// jsonValue gives the object or list that a text begins with, and its length. A
// value that is cut, or no JSON also after a repair, is not whole.
func (l *lookup) jsonValue(text string) (value any, n int, whole bool) {
	if text == "" || text[0] != '{' && text[0] != '[' {
		return nil, 0, false
	}
	n = skipValue([]byte(text), 0)
	if strings.HasSuffix(text[:n], "}") || strings.HasSuffix(text[:n], "]") {
		if json.Unmarshal([]byte(text[:n]), &value) == nil {
			return value, n, true
		}
		if fixed, err := l.repair(text[:n]); err == nil && json.Unmarshal([]byte(fixed), &value) == nil {
			return value, n, true
		}
	}
	return nil, n, false
}

// The names that models give to the parts of a call.
var (
	nameKeys     = []string{"name", "tool_name", "tool", "function_name", "recipient_name", "function", "action"}
	argumentKeys = []string{"arguments", "parameters", "args", "input", "tool_input", "action_input", "params", "tool_parameters", "kwargs"}
	listKeys     = []string{"tool_calls", "tool_uses", "calls", "function_call", "function_calls", "function", "tool_call"}
)

// callsIn finds the calls in a value.
func (l *lookup) callsIn(value any, marked bool, depth int) []textCall {
	var calls []textCall
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			if text, ok := item.(string); ok && len(calls) < maxTextCalls {
				if got, n := readPythonCalls(l, text, ""); n == len(text) {
					calls = append(calls, got...)
				}
			} else if depth > 0 && len(calls) < maxTextCalls {
				calls = append(calls, l.callsIn(item, marked, depth-1)...)
			}
		}
	case map[string]any:
		if call, ok := l.callOf(v, marked); ok {
			return []textCall{call}
		}
		for _, key := range listKeys {
			if inner, ok := v[key]; ok && depth > 0 {
				calls = append(calls, l.callsIn(inner, true, depth-1)...)
			}
		}
	}
	return calls
}

// callOf reads {"name": …, "arguments": …}, in any of the spellings.
func (l *lookup) callOf(v map[string]any, marked bool) (textCall, bool) {
	name := ""
	nameKey := ""
	for _, key := range nameKeys {
		if s, ok := v[key].(string); ok && name == "" {
			name, nameKey = l.tool(s), key
		}
	}
	if name == "" {
		// {"bash": {"command": …}}
		for key, inner := range v {
			if args, ok := inner.(map[string]any); ok && len(v) == 1 && l.tool(key) != "" {
				return textCall{l.tool(key), object(args), true}, true
			}
		}
		return textCall{}, false
	}
	for _, key := range argumentKeys {
		switch args := v[key].(type) {
		case map[string]any:
			return textCall{name, object(args), true}, true
		case string:
			if strings.TrimSpace(args) == "" {
				return textCall{name, "{}", true}, true
			}
			normal, _ := normalizeArguments(args, false)
			var v map[string]any
			if json.Unmarshal([]byte(normal), &v) == nil {
				normal = object(v)
			}
			return textCall{name, normal, true}, true
		}
	}
	// {"name": "bash", "command": …}
	rest := maps.Clone(v)
	for _, key := range []string{nameKey, "id", "type"} {
		delete(rest, key)
	}
	if l.allParameters(name, rest) && l.fits(name, object(rest)) {
		return textCall{name, object(rest), true}, true
	}
	return textCall{name, "{}", true}, marked
}

// allParameters says that there are arguments, and that each is a parameter that
// the tool is known to have.
func (l *lookup) allParameters(tool string, args map[string]any) bool {
	for key := range args {
		if l.kind(tool, key) == "" {
			return false
		}
	}
	return len(args) > 0
}

var (
	nameInCut      = compile(`"(?:name|tool_name|tool|function_name|recipient_name|function|action)"\s*:\s*"([^"]+)"`)
	argumentsInCut = compile(`"(?:arguments|parameters|args|input|tool_input|action_input|params)"\s*:`)
)

// cutCall recognises a call that breaks off, or that is no JSON.
func (l *lookup) cutCall(text string, marked bool) (textCall, bool) {
	m := nameInCut.FindStringSubmatch(text)
	if m == nil || !marked && !argumentsInCut.MatchString(text) {
		return textCall{}, false
	}
	name := l.tool(m[1])
	return textCall{name: name}, name != ""
}

func object(args map[string]any) string {
	text, err := marshalPlain(args)
	if err != nil {
		return "{}" // what came from JSON marshals
	}
	return text
}

// readJSONArguments reads the arguments of a tool that is named already.
func readJSONArguments(l *lookup, rest, name string) ([]textCall, int) {
	at := len(leadIn.FindString(rest))
	value, n, whole := l.jsonValue(rest[at:])
	if n == 0 {
		return nil, 0
	}
	args, ok := value.(map[string]any)
	if whole && !ok {
		return nil, 0
	}
	call := textCall{name: name, whole: whole}
	if whole {
		call.args = object(args)
	}
	return []textCall{call}, at + n
}

// readSpecial reads JSON or, behind special tokens that say nothing to us, a call
// of which no more is known than the name. The text ends with a token then.
func readSpecial(l *lookup, rest, name string) ([]textCall, int) {
	if calls, n := readJSONArguments(l, rest, name); n > 0 {
		return calls, n
	}
	if !specialEnd.MatchString(rest[max(0, len(rest)-64):]) {
		return nil, 0
	}
	return []textCall{{name: name}}, len(rest)
}

var specialEnd = compile(`<` + bar + `[^<>|｜\s]{1,40}` + bar + `>\s*$`)
