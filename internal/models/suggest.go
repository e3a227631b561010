package models

import (
	"slices"
	"sort"
	"strings"
)

// maxSuggestions keeps an error readable.
const maxSuggestions = 3

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
	for _, n := range names {
		if n == got || slices.ContainsFunc(near, func(s scored) bool { return s.name == n }) {
			continue
		}
		d := distance(strings.ToLower(got), strings.ToLower(n))
		if d <= max(2, len(got)/3) {
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
