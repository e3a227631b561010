package tool

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sampan-dev/sampan/internal/text"
)

// Bounds of the search for what the model may have meant.
const (
	missMaxLines    = 20_000
	missCandidates  = 3
	missWindow      = 8
	missMinLikeness = 0.45
)

// errNothingSimilar is a miss of which nothing can be told.
var errNothingSimilar = errors.New("old_text is not in the file, and nothing in it is similar. Nothing was done.")

// explainMiss says why old is not in text, as well as it can be told, and
// shows the lines that are nearest to it; empty if there are none.
func explainMiss(text, old string) string {
	lines, want := strings.Split(text, "\n"), strings.Split(strings.Trim(old, "\n"), "\n")
	if at := matchIgnoringSpace(lines, want); at >= 0 {
		return fmt.Sprintf("old_text is not in the file as given: spaces, tabs or blank lines differ. Nothing was done. Copy the text exactly; the file has:\n%s",
			window(lines, at, len(want)))
	}
	if stripped, ok := stripNumbers(want); ok && strings.Contains(text, stripped) {
		return "old_text is not in the file: it begins with the line numbers of read_file, which are not part of the file. Nothing was done. Leave the numbers and tabs out."
	}
	near := nearest(lines, want)
	if len(near) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("old_text is not in the file. Nothing was done. Copy the text exactly, spaces included; the nearest lines are:\n")
	for i, at := range near {
		if i > 0 {
			b.WriteString("   ...\n")
		}
		b.WriteString(window(lines, at, len(want)))
	}
	return b.String()
}

func window(lines []string, at, count int) string {
	var b strings.Builder
	for i := at; i < min(at+min(count, missWindow), len(lines)); i++ {
		numbered(&b, i+1, text.Clip(lines[i], 300))
	}
	return b.String()
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// matchIgnoringSpace finds want in lines where both have the same words.
func matchIgnoringSpace(lines, want []string) int {
	w := make([]string, len(want))
	for i, s := range want {
		w[i] = squeeze(s)
	}
	if w[0] == "" || len(lines) > missMaxLines {
		return -1
	}
	for at := 0; at+len(w) <= len(lines); at++ {
		i := 0
		for i < len(w) && squeeze(lines[at+i]) == w[i] {
			i++
		}
		if i == len(w) {
			return at
		}
	}
	return -1
}

// stripNumbers takes read_file's line numbers off, if each line has one.
func stripNumbers(lines []string) (string, bool) {
	out := make([]string, len(lines))
	for i, l := range lines {
		number, rest, ok := strings.Cut(l, "\t")
		if !ok || strings.Trim(strings.TrimSpace(number), "0123456789") != "" || strings.TrimSpace(number) == "" {
			return "", false
		}
		out[i] = rest
	}
	return strings.Join(out, "\n"), true
}

// nearest gives the places that look most like want, the best first, judged by
// its first lines that say something.
func nearest(lines, want []string) []int {
	first := slices.IndexFunc(want, func(s string) bool { return len(squeeze(s)) > 2 })
	if first < 0 {
		return nil
	}
	var probes []map[string]int
	for _, w := range want[first:min(first+3, len(want))] {
		probes = append(probes, pairs(squeeze(text.Clip(w, 400))))
	}
	type candidate struct {
		at    int
		score float64
	}
	var best []candidate
	for i := range lines[:min(len(lines), missMaxLines)] {
		score := 0.0
		for j, p := range probes {
			if i+j < len(lines) {
				score += likeness(p, pairs(squeeze(text.Clip(lines[i+j], 400))))
			}
		}
		if score /= float64(len(probes)); score >= missMinLikeness {
			best = append(best, candidate{max(i-first, 0), score})
		}
	}
	slices.SortStableFunc(best, func(a, b candidate) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return a.at - b.at
	})
	var out []int
	for _, c := range best {
		if len(out) == missCandidates {
			break
		}
		if !slices.ContainsFunc(out, func(o int) bool { return c.at-o < len(want) && o-c.at < len(want) }) {
			out = append(out, c.at)
		}
	}
	return out
}

// pairs counts the pairs of neighbouring bytes of a line.
func pairs(s string) map[string]int {
	m := make(map[string]int, len(s))
	for i := 0; i+2 <= len(s); i++ {
		m[s[i:i+2]]++
	}
	return m
}

// likeness is Dice's coefficient of two lines' pairs: 1 for the same, 0 for
// nothing in common.
func likeness(a, b map[string]int) float64 {
	total, common := 0, 0
	for _, n := range b {
		total += n
	}
	for k, n := range a {
		total += n
		common += min(n, b[k])
	}
	if total == 0 {
		return 0
	}
	return 2 * float64(common) / float64(total)
}
