package openai

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/sampan-dev/sampan/internal/jsontext"
)

// A server whose tool parser does not fit its model, or has none, gives a call in
// the model's own markup as text. Nobody ran that call, so such a text is never an
// answer. A call is the markup and the name of an offered tool; words that only
// mention a tag are words.

// textCall is a call that was found in a text.
type textCall struct {
	name string
	// args is the text of a JSON object, as far as it could be read.
	args string
	// whole says that the call is all there.
	whole bool
}

// foundCalls are calls and where in the text their markup stands.
type foundCalls struct {
	start, end int
	calls      []textCall
}

// dialect is one markup.
type dialect struct {
	name string
	// open is what a call begins with. Its group, if any, is the tool's name.
	open pattern
	// read reads what follows: the calls, and how many bytes they take. No call
	// means that it was no markup after all.
	read func(l *lookup, rest, name string) ([]textCall, int)
	// bare says that the markup alone, with the tool's name and nothing behind
	// it, is a call that was cut.
	bare bool
}

const (
	toolName = `(?:functions\.|default_api[.:]|tools\.)?([A-Za-z0-9_.-]+)`
	bar      = `[|｜]`
	low      = `[▁_ ]`
)

// dialects are the markups of which we know, with models that use them.
var dialects = []dialect{
	// Hermes, Qwen, MiniMax-M1, Hunyuan, Granite, Phi-4, Nemotron, Jamba, InternLM,
	// Cohere, Apertus, LongCat, Llama 3: a mark and JSON that says it all.
	{"JSON in a tag", compile(`(?i)<` + bar + `?(?:tool_?calls?|tool_?call_start|function_?calls?|tools?|tool_use|tool_code|[a-z]+[_:]tool_call|` +
		`python_tag|plugin|action_start|START_ACTION|tools_prefix|functions?)` + bar + `?>\s*`), readJSONCalls, false},
	{"JSON behind a word", compile(`\[(?:TOOL_CALLS?|TOOL_REQUEST|FUNCTION_CALLS?|tool_calls?|function_call)\]\s*|(?m:^)functools\s*|(?m:^)\[unused\d+\]\s*|(?m:^)(?:Action|Tool call|Function call):\s*`), readJSONCalls, false},
	// Qwen3-Coder, Seed-OSS, MiMo, Nemotron 3, Llama 3.1, Functionary 3.1.
	{"function=", compile(`<(?:function|tool|tool_call|invoke)=["']?` + toolName + `["']?\s*(?:>|$)`), readParameters, true},
	// Claude, MiniMax-M2, Step-3, DeepSeek V3.2 (DSML).
	{"invoke name=", compile(`<(?:[a-z]+:|` + bar + `DSML` + bar + `)?(?:invoke|function|function_call|tool|tool_call|tool_use|call|parameter)\s+name\s*=\s*["']?` + toolName + `["']?[^<>]*(?:>|$)`), readParameters, true},
	{"a tag with the name", compile(`<(?:tool_use|tool_call|function_call|tool|invoke)>\s*<(?:tool_|function_)?name>\s*` + toolName + `\s*</(?:tool_|function_)?name>`), readParameters, true},
	{"tool_name", compile(`<tool_name>\s*` + toolName + `\s*</tool_name>`), readParameters, true},
	// GLM.
	{"arg_key", compile(`<tool_call>\s*` + toolName), readKeysAndValues, true},
	// Kimi.
	{"tool_call_begin", compile(`<\|tool_call_begin\|>\s*` + toolName + `(?::\d+)?\s*(?:<\|tool_call_argument_begin\|>|$|\b)`), readJSONArguments, true},
	// DeepSeek V2 to V3.1.
	{"tool▁call▁begin", compile(`<` + bar + `tool` + low + `call` + low + `begin` + bar + `>\s*(?:function\s*<` + bar + `tool` + low + `sep` + bar + `>)?\s*` + toolName + `\s*(?:<` + bar + `tool` + low + `sep` + bar + `>)?`), readJSONArguments, true},
	// Mistral.
	{"[TOOL_CALLS]", compile(`\[TOOL_CALLS\]\s*` + toolName + `\s*(?:\[CALL_ID\]\s*[\w-]*)?\s*(?:\[ARGS\])?`), readJSONArguments, true},
	// gpt-oss, also with its special tokens gone.
	{"harmony", compile(`\bto=(?:functions\.|tools?\.)?([A-Za-z0-9_.-]+)\s*(?:<\|channel\|>\s*\w+\s*)?(?:<\|constrain\|>)?\s*(?:json|code)?\s*(?:<\|message\|>)?`), readJSONArguments, false},
	// Functionary 2 and 3.
	{"recipient", compile(`<\|recipient\|>\s*` + toolName + `\s*(?:<\|content\|>)?`), readJSONArguments, true},
	{">>>", compile(`(?m:^)>>>\s*` + toolName + `\n`), readJSONArguments, false},
	// Solar, and special tokens that are in no other row.
	{"special tokens", compile(`<` + bar + `[^<>|｜\s]{1,40}` + bar + `>(?:[a-z ]{0,24}(?:name|tool)\s*=\s*)?["']?` + toolName + `["']?\s*<` + bar + `[^<>|｜\s]{1,40}` + bar + `>`), readSpecial, false},
	// Gemma.
	{"call:", compile(`(?:<` + bar + `?(?:start_function_call|tool_call)` + bar + `?>\s*|(?m:^)[ \t]*)call:\s*` + toolName), readBraces, true},
	// Llama 4, Olmo 3, LFM2, Gemini: calls as Python has them, in a mark or fence.
	{"pythonic", compile("(?:<" + bar + "?(?:tool_call_start|tool_calls?|function_calls?|python_tag|python_start|tool_code|execute_tool)" + bar + "?>|(?m:^)functools\\s*|(?m:^)```(?:tool_code|tool_call|tool_calls)[ \t]*\n)\\s*"), readPythonCalls, false},
	// ReAct.
	{"Action Input", compile(`(?m:^)[ \t*]*Action\**:\**[ \t]*` + toolName + `[ \t]*\r?\n+[ \t*]*Action Input\**:\**[ \t]*`), readInput, false},
	{"JSON in a fence", compile("(?m:^)[ \t]*```(?:tool_code|tool_call|tool_calls|tool_use|function_call)[ \t]*\n\\s*"), readJSONCalls, false},
}

// maxTextCalls bounds the calls taken from one text.
const maxTextCalls = 32

// maxMarkupBytes bounds the texts that are searched.
const maxMarkupBytes = 1 << 20

// lookup is what the readers need to know of the request.
type lookup struct {
	// tool gives the clean name of an offered tool, empty for any other.
	tool func(name string) string
	// kind is the JSON type of a tool's parameter, empty where it is not known.
	kind func(tool, parameter string) string
	// fits says that arguments, the text of a JSON object, fit a tool's schema.
	fits func(tool, args string) bool
	// sole is the only parameter that a tool needs; empty where it is not one.
	sole func(tool string) string
	// repaired counts the bytes that were given to the repair.
	repaired int
}

// repair repairs JSON, within what one reply may cost: a text may hold many values.
func (l *lookup) repair(text string) (string, error) {
	if l.repaired += len(text); l.repaired > jsontext.MaxRepairBytes {
		return "", errors.New("too much to repair")
	}
	return jsontext.Repair(text)
}

// find gives the calls in a text, and the text in which they stand: where it has
// none that are whole, its markup may be garbled.
func (l *lookup) find(text string) ([]foundCalls, string) {
	if isProse(text) {
		return nil, text
	}
	found := l.findCalls(text)
	if len(found) > 0 && allWhole(found) || len(text) > maxMarkupBytes {
		return found, text
	}
	if plain := plainMarkup(text); plain != text {
		if again := l.findCalls(plain); len(found) == 0 || len(again) > 0 && allWhole(again) {
			return again, plain
		}
	}
	return found, text
}

// isProse says that a text has none of the signs of which markup is made, so that
// nothing need be looked for, and no pattern compiled.
func isProse(text string) bool {
	return !strings.ContainsAny(text, "<[{(&\\`") && !strings.Contains(text, "Action Input") && !strings.Contains(text, "invoke")
}

func allWhole(found []foundCalls) bool {
	return !slices.ContainsFunc(found, func(f foundCalls) bool {
		return slices.ContainsFunc(f.calls, func(c textCall) bool { return !c.whole })
	})
}

// findCalls gives the calls in a text, in order, without overlap.
func (l *lookup) findCalls(text string) []foundCalls {
	if len(text) > maxMarkupBytes {
		return nil
	}
	found := append(l.findMarked(text), l.findTags(text)...)
	if len(found) == 0 {
		found = l.findUnmarked(text)
	}
	if len(found) == 0 {
		found = l.findNamed(text)
	}
	slices.SortStableFunc(found, func(a, b foundCalls) int {
		return cmp.Or(a.start-b.start, b.end-a.end)
	})
	kept := found[:0]
	for _, f := range found {
		if len(kept) == 0 || f.start >= kept[len(kept)-1].end {
			kept = append(kept, f)
		}
	}
	return kept
}

// findMarked finds the calls of all dialects, in no order.
func (l *lookup) findMarked(text string) []foundCalls {
	var found []foundCalls
	for i := range dialects {
		found = append(found, l.findDialect(text, &dialects[i])...)
	}
	return found
}

func (l *lookup) findDialect(text string, d *dialect) []foundCalls {
	var found []foundCalls
	for _, m := range d.open.FindAllStringSubmatchIndex(text, 4*maxTextCalls) {
		name := ""
		if len(m) > 2 && m[2] >= 0 {
			if name = l.tool(text[m[2]:m[3]]); name == "" {
				continue
			}
		}
		rest := text[m[1]:]
		calls, n := d.read(l, rest, name)
		if len(calls) == 0 && d.bare && onlyMarks(rest) {
			calls, n = []textCall{{name: name}}, len(rest)
		}
		if len(calls) > 0 && !shown(text, m[0], m[1]+n) {
			found = append(found, foundCalls{m[0], m[1] + n, calls})
		}
	}
	return found
}

// shown says that markup stands in Markdown code, as an example. A fence with
// which the text ends holds a call all the same: models write calls in fences.
func shown(text string, start, end int) bool {
	if !inCode(text, start) || strings.Trim(text[:start], "` \t\r\n") == "" {
		return false
	}
	line := text[strings.LastIndexByte(text[:start], '\n')+1 : start]
	fenced := len(fence.FindAllStringIndex(text[:start], -1))%2 == 1
	return !fenced || strings.Contains(line, "`") || !onlyMarks(text[end:])
}

// markPattern is what may stand around calls and says nothing.
const markPattern = `(?i)<` + bar + `?/?` + bar + `?(?:[a-z]+:|DSML` + bar + `)?(?:tool_?calls?|function_?calls?|tools?|tool_use|functions?|invoke|parameter|param|arguments?|` +
	`arg_key|arg_value|tool_code|longcat_tool_call|call|return|end|end_function_call|start_function_call|action_end|action_start|plugin|END_ACTION|START_ACTION|tools_suffix|tools_prefix|` +
	`eom_id|eot_id|im_end|endoftext|python_tag|python_end|python_start|tool_call_(?:end|start|begin)|tool_calls_section_(?:begin|end)|tool_call:[a-z]+|` +
	`tool` + low + `calls?` + low + `(?:begin|end)|tool` + low + `sep|end` + low + `of` + low + `sentence)` + bar + `?>` +
	"|</s>|\\[/?(?:TOOL_CALLS?|END_TOOL_REQUEST|TOOL_REQUEST|ARGS|function|unused\\d+)\\]|```(?:tool_code|tool_calls?|json|xml)?|<channel\\|>|<tool_call\\|>"

var (
	marks     = compile(markPattern)
	firstMark = compile(`^\s*(?:` + markPattern + `)`)
)

// onlyMarks says that a text has nothing in it but marks.
func onlyMarks(text string) bool {
	for {
		mark := firstMark.FindString(text)
		if mark == "" {
			return strings.TrimSpace(text) == ""
		}
		text = text[len(mark):]
	}
}

// lastCalls are those with which a text ends, with nothing but marks behind each.
func lastCalls(found []foundCalls, text string) []foundCalls {
	end := len(text)
	for i, f := range slices.Backward(found) {
		if !onlyMarks(text[f.end:end]) {
			return found[i+1:]
		}
		end = f.start
	}
	return found
}

// findTags finds calls that are XML with the tool's name as the tag and its
// parameters as the tags inside: <bash><command>ls</command></bash>.
func (l *lookup) findTags(text string) []foundCalls {
	var found []foundCalls
	for _, m := range nameTag.FindAllStringSubmatchIndex(text, 4*maxTextCalls) {
		name := l.tool(text[m[2]:m[3]])
		if name == "" {
			continue
		}
		closing := "</" + text[m[2]:m[3]] + ">"
		inner, _, whole := strings.Cut(text[m[1]:], closing)
		call, ok := l.readChildren(name, inner)
		if attributes := text[m[4]:m[5]]; attributes != "" {
			call, ok = l.readAttributes(name, attributes)
			inner, whole = "", strings.HasPrefix(text[m[1]:], closing)
		}
		if !ok {
			continue
		}
		call.whole = call.whole && (whole || strings.HasSuffix(text[:m[1]], "/>"))
		end := m[1] + len(inner)
		if whole {
			end += len(closing)
		}
		if !shown(text, m[0], end) {
			found = append(found, foundCalls{m[0], end, []textCall{call}})
		}
	}
	return found
}

var (
	nameTag = compile(`(?m:^)[ \t]*(?:<(?:tool|function)_?calls?>\s*)?<([A-Za-z0-9_.-]+)((?:\s+[\w.-]+\s*=\s*"[^"<>]*")*)\s*/?>`)
	// attribute is a parameter of a call that is all in one tag.
	attribute = compile(`([\w.-]+)\s*=\s*"([^"]*)"`)
)

// unmarkedStart is where JSON may begin that is a call without any markup.
var unmarkedStart = compile("(?m:^)[ \t]*(?:```(?:json|JSON|python|xml)?[ \t]*\n\\s*)?([\\[{])")

// wholeFence is the fence with which a text begins, or the space before it.
var wholeFence = compile("^\\s*(?:```\\w*[ \t]*\n\\s*)?")

// findUnmarked finds a call without markup, with which the text must end: JSON
// with name and arguments, or a list of calls as Python has them, alone, behind
// words or in a fence; or, as all of the text, one such call.
func (l *lookup) findUnmarked(text string) []foundCalls {
	if at := resultMark.FindStringIndex(text); at != nil {
		text = text[:at[0]]
	}
	for _, m := range unmarkedStart.FindAllStringSubmatchIndex(text, 4*maxTextCalls) {
		for _, read := range []func(*lookup, string, string) ([]textCall, int){readBareJSON, readPythonCalls} {
			if calls, n := read(l, text[m[2]:], ""); len(calls) > 0 && onlyMarks(text[m[2]+n:]) {
				return []foundCalls{{m[0], len(text), calls}}
			}
		}
	}
	start := len(wholeFence.FindString(text))
	if calls, n := readPythonCalls(l, text[start:], ""); len(calls) > 0 && onlyMarks(text[start+n:]) {
		return []foundCalls{{start, len(text), calls}}
	}
	// Functionary's first call has no mark before its name.
	if name, rest, ok := strings.Cut(text[start:], "\n"); ok && l.tool(strings.TrimSpace(name)) != "" {
		if calls, n := readJSONArguments(l, rest, l.tool(strings.TrimSpace(name))); len(calls) > 0 && onlyMarks(rest[n:]) {
			return []foundCalls{{start, len(text), calls}}
		}
	}
	return nil
}
