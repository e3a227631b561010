package openai

import (
	"encoding/json"
	"html"
	"strings"
)

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
	if calls, n := l.readTagged(rest, name); len(calls) > 0 {
		return calls, n
	}
	return l.readInner(rest, name)
}

// readInner reads what stands up to the end of a call as tags with the parameters'
// names. What else it may be is not known, and not whole.
func (l *lookup) readInner(rest, name string) ([]textCall, int) {
	end := callCloses.FindStringIndex(rest)
	if end == nil {
		return nil, 0
	}
	inner := rest[:end[0]]
	if call, ok := l.readChildren(name, inner); ok {
		return []textCall{call}, end[1]
	}
	return []textCall{{name: name}}, end[1]
}

var callCloses = compile(`</(?:[a-z]+:|` + bar + `DSML` + bar + `)?(?:function|invoke|function_call|tool|tool_use|tool_call|call)>`)

// readInput reads JSON, or else text up to the result that a model makes up.
func readInput(l *lookup, rest, name string) ([]textCall, int) {
	if calls, n := readJSONArguments(l, rest, name); n > 0 {
		return calls, n
	}
	input := rest
	if at := resultMark.FindStringIndex(rest); at != nil {
		input = rest[:at[0]]
	}
	key := l.sole(name)
	if strings.TrimSpace(input) == "" || key == "" {
		return []textCall{{name: name}}, len(input)
	}
	return []textCall{{name, object(map[string]any{key: l.typed(name, key, strings.TrimSpace(input))}), true}}, len(input)
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
	if inner, marked := strings.CutPrefix(strings.TrimSpace(text), "<![CDATA["); marked {
		text = strings.TrimSuffix(inner, "]]>")
	}
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
	// closedCall is what a call has inside that is in no form of ours.
	closedCall = compile(`^\s*\n[^<]+</tool_call>`)
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
	if end := closedCall.FindStringIndex(rest); end != nil {
		return []textCall{{name: name}}, end[1]
	}
	return nil, 0
}

var child = compile(`^\s*<([A-Za-z_][\w.-]*)>`)

// readChildren reads arguments whose tags are the parameters' names. ok is false
// where a tag is none of them and the tool's own are not all there.
func (l *lookup) readChildren(tool, inner string) (call textCall, ok bool) {
	call = textCall{name: tool, whole: true}
	if calls, n := readJSONArguments(l, inner, tool); n > 0 {
		return calls[0], true
	}
	args, stray := map[string]any{}, false
	for {
		m := child.FindStringSubmatchIndex(inner)
		if m == nil {
			break
		}
		key := inner[m[2]:m[3]]
		value, rest, closed := strings.Cut(inner[m[1]:], "</"+key+">")
		if l.kind(tool, key) == "" {
			stray = true
		} else {
			args[key] = l.typed(tool, key, value)
		}
		inner, call.whole = rest, closed
	}
	call.args = object(args)
	return call, len(args) > 0 && (!stray || l.fits(tool, call.args))
}

// readAttributes reads arguments that are the attributes of a tag.
func (l *lookup) readAttributes(tool, attributes string) (textCall, bool) {
	args := map[string]any{}
	for _, m := range attribute.FindAllStringSubmatch(attributes, maxParameters) {
		args[m[1]] = l.typed(tool, m[1], html.UnescapeString(m[2]))
	}
	return textCall{tool, object(args), true}, l.allParameters(tool, args)
}
