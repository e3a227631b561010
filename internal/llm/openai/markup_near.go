package openai

import (
	"encoding/json"
	"strings"
)

// What no dialect has: a tool's name and behind it arguments that fit, with which
// the text ends. Servers drop the tokens that stood around them, and models make
// up markup of their own.

var (
	// nameThenObject is a name and an object with nothing but marks and a few words
	// of calls between them.
	nameThenObject = compile(`(?:functions\.|default_api[.:]|tools\.)?([A-Za-z0-9_-]+)(?::\d+)?(?:[\s:=(\[\]*"'` + "`" + `>#,-]|<[^<>\s]+>|` +
		`(?i:\b(?:with|tool|function|call|the|args|arguments|input|parameters|params|json)\b))*?(\{)`)
	// pythonLine is a call as Python has it, at the beginning of a line.
	pythonLine = compile(`(?m:^)((?:call:[ \t]*)?(?:print\()?(?:await[ \t]+)?(?:functions\.|default_api[.:]|tools\.)?[A-Za-z0-9_-]+\()`)
	// resultMark is what stands before the result of a call, which models make up.
	resultMark = compile(`(?m:^)[ \t]*(?:<` + bar + `?(?:tool_response|tool_results?|tool_outputs?|function_results?|function_response|observation)` + bar + `?>|Observation:)`)
	// closers may stand behind arguments.
	closers = " \t\r\n)]}*\"'"
)

// findNamed finds one such call. It is whole only if its arguments fit the tool.
func (l *lookup) findNamed(text string) []foundCalls {
	for _, m := range nameThenObject.FindAllStringSubmatchIndex(text, 4*maxTextCalls) {
		name := l.tool(text[m[2]:m[3]])
		if name == "" || inCode(text, m[0]) || strings.Contains(text[m[3]:m[4]], "```") && !labelled(text, m[0]) {
			continue
		}
		calls, n := readJSONArguments(l, text[m[4]:], name)
		if len(calls) == 0 || !onlyMarks(strings.TrimLeft(text[m[4]+n:], closers)) {
			continue
		}
		switch c := calls[0]; {
		case c.whole && l.fitsWell(name, c.args), !c.whole && l.namesParameter(name, text[m[4]:]):
			return []foundCalls{{m[0], len(text), calls}}
		}
	}
	for _, m := range pythonLine.FindAllStringSubmatchIndex(text, 4*maxTextCalls) {
		calls, n := readPythonCalls(l, text[m[2]:], "")
		if len(calls) == 0 || !onlyMarks(text[m[2]+n:]) || inCode(text, m[2]) {
			continue
		}
		if c := calls[len(calls)-1]; c.whole && l.fitsWell(c.name, c.args) {
			return []foundCalls{{m[2], len(text), calls}}
		}
	}
	return nil
}

// labelled says that nothing but a label stands before a name on its line, such as
// "**Tool:**", or a mark. Behind a sentence, arguments in a fence are an example.
func labelled(text string, at int) bool {
	return label.MatchString(text[strings.LastIndexByte(text[:at], '\n')+1 : at])
}

var label = compile(`(?i)^\W*(?:(?:tool|function|action|call|calling|use|using|name)(?:[ _](?:name|call))?\W*)?$|>\s*$`)

// fitsWell says that there are arguments, that fit.
func (l *lookup) fitsWell(tool, args string) bool {
	var v map[string]any
	return json.Unmarshal([]byte(args), &v) == nil && l.allParameters(tool, v) && l.fits(tool, args)
}

// namesParameter says that an object that is cut begins with a parameter of the tool.
func (l *lookup) namesParameter(tool, object string) bool {
	m := firstKey.FindStringSubmatch(object)
	return m != nil && l.kind(tool, m[1]) != ""
}

var firstKey = compile(`^\{\s*"([\w.-]+)"\s*:`)

// otherAgents are tools of other agents, which models that were made for those call
// in their markup, offered or not.
var otherAgents = compile(`</(execute_(?:bash|command|ipython|ipython_cell)|run_terminal_cmd|write_to_file|apply_diff|replace_in_file|` +
	`search_files|list_files|str_replace_editor|use_mcp_tool|access_mcp_resource)>\s*$`)

// foreignCall is the name of another agent's tool with whose call a text ends.
func foreignCall(text string) string {
	m := otherAgents.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	at := strings.LastIndex(text, "<"+m[1]+">")
	if at < 0 || inCode(text, at) || strings.TrimSpace(text[strings.LastIndexByte(text[:at], '\n')+1:at]) != "" {
		return ""
	}
	return m[1]
}

// endsInMarks says that a text ends with marks of a call, on lines of their own: the
// call was lost, or the reply broke off where it began.
func endsInMarks(text string) bool {
	end := len(text)
	found := marks.FindAllStringIndex(text, -1)
	opening, count := false, 0
	for i := len(found) - 1; i >= 0 && strings.TrimSpace(text[found[i][1]:end]) == ""; i-- {
		end = found[i][0]
		mark := text[found[i][0]:found[i][1]]
		if neutralMark.MatchString(mark) {
			continue
		}
		count++
		opening = opening || !closingMark.MatchString(mark)
	}
	line := text[strings.LastIndexByte(text[:end], '\n')+1 : end]
	return (opening || count > 1) && strings.TrimSpace(line) == "" && !inCode(text, end)
}

var (
	neutralMark = compile("^```|^</s>$|^<" + bar + `?(?:eom_id|eot_id|im_end|endoftext|return|end|end` + low + `of` + low + `sentence)` + bar + `?>$`)
	closingMark = compile(`^<` + bar + `?/|^\[/|^\[END|end` + bar + `?>$|suffix` + bar + `>$|^<tool_call\|>$`)
)
