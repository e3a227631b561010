package tool

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// escapeSequences are what programs send to a terminal: colours, titles, moves.
var escapeSequences = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])`)

// cleanText makes any bytes fit for a JSON string that a model reads: valid
// UTF-8, no NUL (some servers refuse it), no terminal sequences.
func cleanText(s string) string {
	if strings.IndexByte(s, 0x1b) >= 0 {
		s = escapeSequences.ReplaceAllString(s, "")
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// omission is the line that stands for what was cut out.
func omission(bytes int64, where string) string {
	if where != "" {
		where = "; the whole output is in " + where + ", read it with read_file or grep"
	}
	return fmt.Sprintf("\n[... %d bytes left out%s ...]\n", bytes, where)
}

// bound cuts text to its head and tail, with a line that says so, at line ends
// where they are near. where may tell what holds the whole text.
func bound(text string, limit int, where string) string {
	if len(text) <= limit {
		return text
	}
	room := max(limit-len(omission(int64(len(text)), where)), 0)
	head, tail := cutHead(text, room-room/2), cutTail(text, room/2)
	return head + omission(int64(len(text)-len(head)-len(tail)), where) + tail
}

// nearLine is how far a cut may move to fall between two lines.
const nearLine = 200

func cutHead(s string, n int) string {
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	s = s[:min(n, len(s))]
	if i := strings.LastIndexByte(s, '\n'); i >= 0 && len(s)-i < nearLine {
		return s[:i]
	}
	return s
}

func cutTail(s string, n int) string {
	i := max(len(s)-n, 0)
	for i < len(s) && !utf8.RuneStart(s[i]) {
		i++
	}
	s = s[i:]
	if i := strings.IndexByte(s, '\n'); i >= 0 && i < nearLine {
		return s[i+1:]
	}
	return s
}

// numbered writes lines the way read_file shows them.
func numbered(b *strings.Builder, number int, text string) {
	fmt.Fprintf(b, "%6d\t%s\n", number, text)
}

// countLines counts lines as an editor does: a final one needs no line end.
func countLines(data string) int {
	n := strings.Count(data, "\n")
	if data != "" && !strings.HasSuffix(data, "\n") {
		n++
	}
	return n
}
