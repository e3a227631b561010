package models

import (
	"sort"
	"strings"
)

// maxSuggestions keeps an error readable.
const maxSuggestions = 3

// maxCompared bounds the work for a name that is looked for again and again.
const maxCompared = 100

// closest gives the names that somebody may have meant, nearest first. What was
// written is none of them, though it may be a name elsewhere.
func closest(got string, names []string) []string {
	if len(got) == 0 || len(got) > 128 {
		return nil
	}
	type scored struct {
		name string
		dist int
	}
	var near []scored
	far := max(2, len(got)/3)
	compared := map[string]bool{got: true}
	for _, n := range names {
		// So many letters more or less are a distance in themselves.
		if len(n) > len(got)+far || len(n) < len(got)-far || compared[n] {
			continue
		}
		if compared[n] = true; len(compared) > maxCompared {
			break
		}
		// Where every letter of a word must change, nothing is close.
		if d := distance(strings.ToLower(got), strings.ToLower(n)); d <= far && (d <= 1 || d < min(len(got), len(n))) {
			near = append(near, scored{n, d})
		}
	}
	sort.SliceStable(near, func(i, j int) bool { return near[i].dist < near[j].dist })
	var out []string
	for _, s := range near[:min(len(near), maxSuggestions)] {
		out = append(out, s.name)
	}
	return out
}

// DidYouMean names what somebody may have meant, as the end of a sentence, empty when nothing comes close.
func DidYouMean(got string, names []string) string { return suggest(closest(got, names)) }

func suggest(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(names, " or ") + "?"
}

// distance is how many letters must change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
