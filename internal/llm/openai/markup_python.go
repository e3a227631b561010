package openai

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
)

// pythonCall is what a call as Python has it begins with.
var pythonCall = compile(`^(?:call:\s*)?(?:print\(\s*)?(?:await\s+)?` + toolName + `(?:\.call)?\(`)

// readPythonCalls reads calls such as [bash(command="ls"), list()], alone or one
// on a line.
func readPythonCalls(l *lookup, rest, _ string) ([]textCall, int) {
	var calls []textCall
	at := len(rest) - len(strings.TrimLeft(rest, blanks))
	if strings.HasPrefix(rest[at:], "[") {
		at++
	}
	for len(calls) < maxTextCalls {
		at += len(between.FindString(rest[at:]))
		m := pythonCall.FindStringSubmatchIndex(rest[at:])
		if m == nil {
			break
		}
		name := l.tool(strings.TrimSuffix(rest[at+m[2]:at+m[3]], ".call"))
		if name == "" {
			return nil, 0
		}
		args, n, whole := l.pythonArguments(name, rest[at+m[1]:])
		at += m[1] + n
		if strings.HasPrefix(rest[at:], ")") {
			at++ // of print(…)
		}
		calls = append(calls, textCall{name, args, whole})
	}
	if len(calls) == 0 {
		return nil, 0
	}
	if strings.HasPrefix(rest[at:], "]") {
		at++
	}
	return calls, at
}

var keyword = compile(`^\s*([A-Za-z_]\w*)\s*=\s*`)

// pythonArguments reads up to the closing parenthesis. whole is false where that
// is missing, or a value cannot be read.
func (l *lookup) pythonArguments(tool, text string) (args string, n int, whole bool) {
	values := map[string]any{}
	whole = true
	for n < len(text) {
		start := n
		end := pythonValueEnd(text, start)
		item := text[start:end]
		n = end
		if n < len(text) {
			n++
		} else {
			whole = false
		}
		if strings.TrimSpace(item) != "" {
			key := l.sole(tool)
			if m := keyword.FindStringSubmatch(item); m != nil {
				key, item = m[1], item[len(m[0]):]
			}
			value, ok := l.pythonValue(strings.TrimSpace(item))
			if all, is := value.(map[string]any); is && n == end+1 && start == 0 && l.kind(tool, key) == "string" {
				maps.Copy(values, all) // bash({"command": …})
			} else if key == "" || !ok {
				whole = false
			} else {
				values[key] = value
			}
		}
		if end < len(text) && text[end] == ')' {
			return object(values), n, whole
		}
	}
	return object(values), n, false
}

// pythonValueEnd gives where an argument ends: at a comma or the closing
// parenthesis of its call.
func pythonValueEnd(text string, i int) int {
	depth := 0
	for i < len(text) {
		switch c := text[i]; c {
		case '"', '\'':
			i = pythonStringEnd(text, i)
			continue
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(text)
}

// pythonStringEnd gives the place behind the string that begins at i.
func pythonStringEnd(text string, i int) int {
	quote := text[i : i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(text[i:], triple) {
		quote = triple
	}
	for i += len(quote); i < len(text); i++ {
		if text[i] == '\\' {
			i++
		} else if strings.HasPrefix(text[i:], quote) {
			return i + len(quote)
		}
	}
	return len(text)
}

// pythonValue reads a literal.
func (l *lookup) pythonValue(text string) (any, bool) {
	switch text {
	case "True":
		return true, true
	case "False":
		return false, true
	case "None":
		return nil, true
	case "":
		return nil, false
	}
	raw := strings.HasPrefix(text, "r\"") || strings.HasPrefix(text, "r'")
	if raw {
		text = text[1:]
	}
	if c := text[0]; c == '"' || c == '\'' {
		if pythonStringEnd(text, 0) != len(text) {
			return nil, false
		}
		return pythonString(text, raw)
	}
	var v any
	if json.Unmarshal([]byte(text), &v) == nil {
		return v, true
	}
	fixed, err := l.repair(text)
	if err != nil {
		return nil, false
	}
	if json.Unmarshal([]byte(fixed), &v) != nil {
		return nil, false
	}
	return v, true
}

// pythonString reads a string literal with its escapes.
func pythonString(text string, raw bool) (any, bool) {
	size := 1
	if len(text) >= 6 && (strings.HasPrefix(text, `"""`) || strings.HasPrefix(text, "'''")) {
		size = 3
	}
	if len(text) < 2*size || text[len(text)-size:] != text[:size] {
		return nil, false
	}
	inner := text[size : len(text)-size]
	if raw || !strings.Contains(inner, `\`) {
		return inner, true
	}
	var out strings.Builder
	for inner != "" {
		if inner[0] != '\\' {
			i := strings.IndexByte(inner+`\`, '\\')
			out.WriteString(inner[:i])
			inner = inner[i:]
			continue
		}
		if strings.HasPrefix(inner, "\\\n") {
			inner = inner[2:]
			continue
		}
		r, _, tail, err := strconv.UnquoteChar(inner, '\'')
		if err != nil && len(inner) > 1 { // \" between single quotes, or no escape at all
			if inner[1] != '"' {
				out.WriteByte('\\')
			}
			out.WriteByte(inner[1])
			inner = inner[2:]
			continue
		}
		if err != nil {
			return nil, false
		}
		out.WriteRune(r)
		inner = tail
	}
	return out.String(), true
}

// gemmaQuotes are the marks that Gemma's templates put around strings.
var gemmaQuotes = []string{"<escape>", `<|"|>`}

// readBraces reads {command:<escape>ls<escape>}: Gemma's form of arguments.
func readBraces(l *lookup, rest, name string) ([]textCall, int) {
	if !strings.HasPrefix(rest, "{") {
		return nil, 0
	}
	text, n, whole := gemmaJSON(rest)
	if !whole {
		return []textCall{{name: name}}, n
	}
	fixed, err := l.repair(text)
	var args map[string]any
	if err != nil || json.Unmarshal([]byte(fixed), &args) != nil {
		return []textCall{{name: name}}, n
	}
	return []textCall{{name, object(args), true}}, n
}

// gemmaJSON puts quotes where Gemma has marks, up to the closing brace.
func gemmaJSON(rest string) (text string, n int, whole bool) {
	var out strings.Builder
	depth := 0
	for n < len(rest) {
		quoted := false
		for _, mark := range gemmaQuotes {
			if !strings.HasPrefix(rest[n:], mark) {
				continue
			}
			value, _, closed := strings.Cut(rest[n+len(mark):], mark)
			if !closed {
				return "", len(rest), false
			}
			out.Write(quote(value))
			n += 2*len(mark) + len(value)
			quoted = true
		}
		if quoted {
			continue
		}
		switch rest[n] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		out.WriteByte(rest[n])
		if n++; depth == 0 {
			return out.String(), n, true
		}
	}
	return "", n, false
}
