package openai

import (
	"encoding/json"
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
			if depth > 0 && len(calls) < maxTextCalls {
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
	for _, key := range nameKeys {
		if s, ok := v[key].(string); ok && name == "" {
			name = l.tool(s)
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
	return textCall{name, "{}", true}, marked
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

var (
	parameterOpen = compile(`^\s*<(?:[a-z]+:|` + bar + `DSML` + bar + `)?(?:parameter|param|argument|arg)(=|\s+name\s*=\s*)["']?([\w.-]+)["']?[^<>]*>`)
	parameterEnd  = compile(`</(?:[a-z]+:|` + bar + `DSML` + bar + `)?(?:parameter|param|argument|arg)>`)
	parameterNext = compile(`\n\s*<(?:parameter|param)=|</(?:function|invoke|tool_call)>`)
	functionEnd   = compile(`^\s*</(?:[a-z]+:|` + bar + `DSML` + bar + `)?(?:function|invoke|function_call|tool|tool_use|tool_call|call)>`)
	argumentsOpen = compile(`^\s*<(arguments|parameters|args|input|tool_input)>\s*`)
)

// maxParameters bounds the parameters of one call that have a tag each.
const maxParameters = 64

// readParameters reads arguments that have a tag each, or that are JSON.
func readParameters(l *lookup, rest, name string) ([]textCall, int) {
	if m := argumentsOpen.FindStringSubmatch(rest); m != nil {
		inner, _, _ := strings.Cut(rest[len(m[0]):], "</"+m[1]+">")
		if call, ok := l.readChildren(name, inner); ok {
			return []textCall{call}, len(m[0]) + len(inner)
		}
		return readJSONArguments(l, rest[len(m[0]):], name)
	}
	if calls, n := readJSONArguments(l, rest, name); n > 0 {
		return calls, n + len(functionEnd.FindString(rest[n:]))
	}
	return l.readTagged(rest, name)
}

func (l *lookup) readTagged(rest, name string) ([]textCall, int) {
	args := map[string]any{}
	at, closed, ends := 0, true, true
	for n := 0; closed; n++ {
		m := parameterOpen.FindStringSubmatchIndex(rest[at:])
		if m == nil {
			break
		}
		if n == maxParameters {
			at, closed = len(rest), false
			break
		}
		key, assigned := rest[at+m[4]:at+m[5]], rest[at+m[2]:at+m[3]] == "="
		begin := at + m[1]
		value := rest[begin:]
		var end []int
		if ends { // what is not found once is not in the rest
			end = parameterEnd.FindStringIndex(value)
			ends = end != nil
		}
		if ends {
			value, at = value[:end[0]], begin+end[1]
		} else if next := parameterNext.FindStringIndex(value); next != nil {
			value, at = value[:next[0]], begin+next[0]
		} else {
			at, closed = len(rest), false
		}
		if assigned {
			value = strings.TrimSuffix(strings.TrimPrefix(value, "\n"), "\n")
		}
		args[key] = l.typed(name, key, value)
	}
	end := functionEnd.FindString(rest[at:])
	if len(args) == 0 && end == "" {
		return nil, 0
	}
	return []textCall{{name, object(args), closed}}, at + len(end)
}

// typed reads a value that stands as text: as JSON where its parameter is no string.
func (l *lookup) typed(tool, parameter, text string) any {
	switch l.kind(tool, parameter) {
	case "string":
		return text
	case "":
		if trimmed := strings.TrimSpace(text); trimmed == "" || trimmed[0] != '{' && trimmed[0] != '[' {
			return text
		}
	}
	var v any
	trimmed := strings.TrimSpace(text)
	if trimmed == "True" || trimmed == "False" {
		trimmed = strings.ToLower(trimmed)
	}
	if json.Unmarshal([]byte(trimmed), &v) == nil {
		return v
	}
	return text
}

var (
	argPair = compile(`(?s)^\s*<arg_key>\s*([\w.-]+)\s*</arg_key>\s*<arg_value>(.*?)(</arg_value>|$)`)
	argKey  = compile(`^\s*<arg_key>`)
	callEnd = compile(`^\s*</tool_call>`)
)

// readKeysAndValues reads arguments as GLM has them, or, as others write them
// behind a bare name, as JSON or in parentheses.
func readKeysAndValues(l *lookup, rest, name string) ([]textCall, int) {
	args := map[string]any{}
	at, closed := 0, true
	for closed {
		m := argPair.FindStringSubmatch(rest[at:])
		if m == nil {
			break
		}
		at += len(m[0])
		closed = m[3] != ""
		args[m[1]] = l.typed(name, m[1], m[2])
	}
	end := callEnd.FindString(rest[at:])
	switch {
	case len(args) > 0 || end != "":
		return []textCall{{name, object(args), closed && !argKey.MatchString(rest[at:])}}, at + len(end)
	case argKey.MatchString(rest):
		return []textCall{{name: name}}, len(rest)
	}
	if calls, n := readJSONArguments(l, rest, name); n > 0 {
		return calls, n
	}
	if strings.HasPrefix(rest, "(") {
		args, n, whole := l.pythonArguments(name, rest[1:])
		return []textCall{{name, args, whole}}, 1 + n
	}
	return nil, 0
}

var child = compile(`^\s*<([A-Za-z_][\w.-]*)>`)

// readChildren reads arguments whose tags are the parameters' names. ok is false
// where a tag is none of them.
func (l *lookup) readChildren(tool, inner string) (call textCall, ok bool) {
	call = textCall{name: tool, whole: true}
	if calls, n := readJSONArguments(l, inner, tool); n > 0 {
		return calls[0], true
	}
	args := map[string]any{}
	for {
		m := child.FindStringSubmatchIndex(inner)
		if m == nil {
			break
		}
		key := inner[m[2]:m[3]]
		if l.kind(tool, key) == "" {
			return call, false
		}
		value, rest, closed := strings.Cut(inner[m[1]:], "</"+key+">")
		args[key] = l.typed(tool, key, value)
		inner, call.whole = rest, closed
	}
	call.args = object(args)
	return call, len(args) > 0
}
