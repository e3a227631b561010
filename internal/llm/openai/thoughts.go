package openai

import (
	"strings"
)

// Servers without a parser for a model's reasoning leave it in the text, between
// marks of the model's own. Thoughts are no answer, so they are taken out.

// thoughtMarks are the pairs of marks that models put around their thoughts.
var thoughtMarks = []struct{ open, end string }{
	{"<think>", "</think>"},
	{"<thinking>", "</thinking>"},
	{"<thought>", "</thought>"},
	{"<thoughts>", "</thoughts>"},
	{"<reasoning>", "</reasoning>"},
	{"<seed:think>", "</seed:think>"},
	{"<longcat_think>", "</longcat_think>"},
	{"<|think|>", "<|/think|>"},
	{"[THINK]", "[/THINK]"},
	{"◁think▷", "◁/think▷"},
	{"<|START_THINKING|>", "<|END_THINKING|>"},
	{"<|begin_of_thought|>", "<|end_of_thought|>"},
	{"<|inner_prefix|>", "<|inner_suffix|>"},
	{"<unused94>thought", "<unused95>"},
	{"<|channel>thought", "<channel|>"},
	{"<|channel|>analysis<|message|>", "<|end|>"},
}

// answerMarks are what may be left around the answer once the thoughts are out.
var answerMarks = []struct{ open, end string }{
	{"<answer>", "</answer>"},
	{"<response>", "</response>"},
	{"<|START_RESPONSE|>", "<|END_RESPONSE|>"},
	{"<|begin_of_solution|>", "<|end_of_solution|>"},
	{"<|start|>assistant<|channel|>final<|message|>", "<|return|>"},
	{"<|channel|>final<|message|>", "<|return|>"},
}

const blanks = " \t\r\n"

// splitThoughts takes the thoughts off the beginning of the content, also where
// the mark that opens them was part of the prompt and only the other one is there.
// Without its end the model never came to an answer.
func (r *result) splitThoughts() {
	if !strings.ContainsAny(r.content, "<[◁") {
		return
	}
	var thoughts []string
	found := false
	rest := r.content
	for {
		thought, after, ok := cutThoughts(rest, found)
		if !ok {
			break
		}
		found = true
		if thought = strings.TrimSpace(thought); thought != "" {
			thoughts = append(thoughts, thought)
		}
		rest = after
	}
	if !found {
		if answer, ok := unwrapAnswer(rest, answerMarks[4:]); ok {
			r.content = answer
		}
		return
	}
	if answer, ok := unwrapAnswer(rest, answerMarks); ok {
		rest = answer
	}
	r.content = strings.TrimLeft(rest, blanks)
	if r.reasoning != "" && len(thoughts) > 0 {
		r.reasoning += "\n"
	}
	r.reasoning += strings.Join(thoughts, "\n")
}

// cutThoughts cuts one block of thoughts off the beginning. again says that one
// was cut off already: the mark that ends thoughts then needs one that opens them.
func cutThoughts(text string, again bool) (thought, rest string, ok bool) {
	start := strings.TrimLeft(text, blanks)
	for _, mark := range thoughtMarks {
		if inner, ok := strings.CutPrefix(start, mark.open); ok {
			thought, rest, _ := strings.Cut(inner, mark.end)
			return thought, rest, true
		}
	}
	if again {
		return "", text, false
	}
	for _, mark := range thoughtMarks {
		if i := loneEnd(text, mark.open, mark.end); i >= 0 {
			return text[:i], text[i+len(mark.end):], true
		}
	}
	return "", text, false
}

// loneEnd finds a mark that ends thoughts which nothing opened: at the beginning or
// the end of a line and outside of code, where it is no word about the mark.
func loneEnd(text, open, end string) int {
	for at := 0; ; {
		i := strings.Index(text[at:], end)
		if i < 0 {
			return -1
		}
		i += at
		at = i + len(end)
		before, after := strings.TrimRight(text[:i], " \t"), strings.TrimLeft(text[at:], " \t")
		edge := before == "" || after == "" || strings.HasSuffix(before, "\n") || strings.HasPrefix(after, "\n") || strings.HasPrefix(after, "\r\n")
		if (edge || glued(text[:i], text[at:])) && !strings.Contains(text[:i], open) && !inCode(text, i) {
			return i
		}
	}
}

// glued says that a mark follows a sentence without a space and is followed by a
// word in the same way, as no sentence about it has it.
func glued(before, after string) bool {
	return strings.ContainsRune(".!?)", rune(before[len(before)-1])) && after != "" && !strings.ContainsAny(after[:1], " \t`'\".,;:)!?")
}

func unwrapAnswer(text string, marks []struct{ open, end string }) (string, bool) {
	trimmed := strings.TrimSpace(text)
	for _, mark := range marks {
		if inner, ok := strings.CutPrefix(trimmed, mark.open); ok {
			return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(inner), mark.end)), true
		}
	}
	return text, false
}

var fence = compile("(?m)^[ \t]{0,3}(```+|~~~+)")

// inCode says that a place in a text is inside of Markdown code: a fenced block, a
// span between backticks, an indented block or a quotation. What stands there is
// shown, not meant.
func inCode(text string, at int) bool {
	if len(fence.FindAllStringIndex(text[:at], -1))%2 == 1 {
		return true
	}
	line := text[strings.LastIndexByte(text[:at], '\n')+1 : at]
	if strings.Count(line, "`")%2 == 1 {
		return true
	}
	lead := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	return strings.HasPrefix(strings.TrimLeft(line, " "), ">") && !strings.HasPrefix(line, ">>>") ||
		strings.Contains(lead, "\t") || len(lead) >= 4
}
