package tool

import (
	"fmt"
	"strings"

	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/textfile"
)

// Output gives what a command printed as text for a model: what is there of
// both streams, with a line where something was left out, and every byte as
// package textfile shows it. stray counts those that are no UTF-8.
func (r *ExecResult) Output() (out string, stray int) {
	var b strings.Builder
	for _, s := range []struct {
		data         []byte
		cut, omitted int64
	}{{r.Stdout, r.StdoutCut, r.OmittedStdoutBytes}, {r.Stderr, r.StderrCut, r.OmittedStderrBytes}} {
		if len(s.data) > 0 && b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
			b.WriteByte('\n')
		}
		parts := [][]byte{s.data}
		if s.omitted > 0 {
			cut := min(max(s.cut, 0), int64(len(s.data))) // a server says it
			parts = [][]byte{s.data[:cut], s.data[cut:]}
		}
		for i, p := range parts {
			if i > 0 {
				b.WriteString(omission(s.omitted, r.FullOutputPath))
			}
			shown, n := textfile.Show(string(p))
			b.WriteString(shown)
			stray += n.Stray
		}
	}
	return b.String(), stray
}

// omission is the line that stands for what was cut out.
func omission(bytes int64, where string) string {
	if where != "" {
		where = "; the whole output is in " + where
	}
	return fmt.Sprintf("\n[... %d bytes left out%s ...]\n", bytes, where)
}

// bound cuts text to its head and tail, with a line that says so. where may
// tell what holds the whole text.
func bound(s string, limit int, where string) string {
	return text.HeadTail(s, limit, func(n int) string { return omission(int64(n), where) })
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
