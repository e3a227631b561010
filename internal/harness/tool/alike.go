package tool

import (
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"

	"github.com/sampan-dev/sampan/internal/textfile"
)

// Models write a plain character where a file has one that looks the same: a
// space for a no-break space, ' for ’, one letter for a letter and its accent.
// Where a text is found but for those, and in one place, it is meant.

const (
	// maxAlikeBytes bounds a file that is searched for them.
	maxAlikeBytes = 4 << 20
	// maxAligned bounds the texts of which old and new are aligned letter by letter.
	maxAligned = 2000
	// maxNamed bounds how many characters are named.
	maxNamed = 5
)

// folded is a text with plain characters in the place of those that look like
// them. at gives for each of its bytes, and for its end, the offset of what it
// stands for; several bytes may stand for one character.
type folded struct {
	source string
	text   string
	at     []int
}

func fold(s string, plain func(string) string) *folded {
	f := &folded{source: s, at: make([]int, 0, len(s)+1)}
	var b strings.Builder
	add := func(text string, at int) {
		b.WriteString(text)
		for range len(text) {
			f.at = append(f.at, at)
		}
	}
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf && (i+1 == len(s) || s[i+1] < utf8.RuneSelf) {
			add(s[i:i+1], i)
			i++
			continue
		}
		// A letter and the accents that follow it are one.
		n := max(norm.NFC.NextBoundaryInString(s[i:], true), 1)
		add(plain(norm.NFC.String(s[i:i+n])), i)
		i += n
	}
	f.text, f.at = b.String(), append(f.at, len(s))
	return f
}

func foldRunes(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		case unicode.Is(unicode.Cf, r): // zero width, direction marks, soft hyphen
		case strings.ContainsRune("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4", r):
			b.WriteByte('\'')
		case strings.ContainsRune("\u201c\u201d\u201e\u201f\u2033", r):
			b.WriteByte('"')
		case unicode.Is(unicode.Pd, r), r == '\u2212':
			b.WriteByte('-')
		case r == '\u2026':
			b.WriteString("...")
		case width.LookupRune(r).Folded() != 0:
			b.WriteRune(width.LookupRune(r).Folded())
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// skeleton folds letters, too: those of other alphabets, and what Unicode calls
// compatible, such as ligatures and raised digits.
func skeleton(s string) string {
	return strings.Map(func(r rune) rune {
		if l, ok := homoglyphs()[r]; ok {
			return l
		}
		return r
	}, norm.NFKC.String(foldRunes(s)))
}

// homoglyphs are the letters that fonts draw like Latin ones.
var homoglyphs = sync.OnceValue(func() map[rune]rune {
	const alike = "аaеeоoрpсcуyхxіiјjѕsԁdһhӏlԛqԝw" + "АAВBЕEЅSІIЈJКKМMНHОOРPСCТTУYХX" +
		"οoνvιiκkρpτtυuαaγyχx" + "ΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧX" + "ոnօoսuհhցgքfԼlՕO" + "ıiɑaɡgℓl"
	out := map[rune]rune{}
	runes := []rune(alike)
	for i := 0; i < len(runes); i += 2 {
		out[runes[i]] = runes[i+1]
	}
	return out
})

// whole says that a place in the folded text is no part of one character.
func (f *folded) whole(i int) bool { return i == 0 || i == len(f.text) || f.at[i] != f.at[i-1] }

// findAlike finds old where it is but for characters that look alike. An edit
// without a line is none. Letters that only look like others mean something
// else: these are named, and nothing is done.
func (t *normalised) findAlike(old, replacement string) (edit, error) {
	if len(t.text) > maxAlikeBytes || isASCII(old) && isASCII(t.text) || strings.TrimSpace(old) == "" {
		return edit{}, nil
	}
	file, want := fold(t.text, foldRunes), fold(old, foldRunes)
	switch at := file.find(want); len(at) {
	case 0:
	case 1:
		from, to := file.at[at[0]], file.at[at[0]+len(want.text)]
		was := t.text[from:to]
		e := t.edit(from, was, keepAlike(was, replacement, old))
		e.notes = append(e.notes, fmt.Sprintf("old_text was found but for characters that look alike: %s. Outside of the change the file's own were kept",
			t.differences(from, fold(was, foldRunes), want)))
		return e, nil
	default:
		for i := range at {
			at[i] = file.at[at[i]]
		}
		return edit{}, t.ambiguous(at)
	}
	file, want = fold(t.text, skeleton), fold(old, skeleton)
	if at := file.find(want); len(at) > 0 {
		from, to := file.at[at[0]], file.at[at[0]+len(want.text)]
		return edit{}, fmt.Errorf("old_text is not in the file as given, but something that looks the same is: %s. Nothing was done. Use the file's characters in old_text if that is the place you mean",
			t.differences(from, fold(t.text[from:to], skeleton), want))
	}
	return edit{}, nil
}

// find gives the places of want, in whole characters.
func (f *folded) find(want *folded) []int {
	var at []int
	for i := 0; want.text != "" && i <= len(f.text)-len(want.text); i++ {
		j := strings.Index(f.text[i:], want.text)
		if j < 0 {
			break
		}
		if i += j; f.whole(i) && f.whole(i+len(want.text)) {
			at = append(at, i)
		}
	}
	return at
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// keepAlike gives the replacement with the characters of was, the file's text,
// wherever it repeats old.
func keepAlike(was, replacement, old string) string {
	f, o, n := fold(was, foldRunes), fold(old, foldRunes), fold(replacement, foldRunes)
	pairs := align(o.text, n.text)
	var b strings.Builder
	next := 0 // of n.text
	for i := 0; i < len(pairs); {
		run := 1
		for i+run < len(pairs) && pairs[i+run] == [2]int{pairs[i][0] + run, pairs[i][1] + run} {
			run++
		}
		p, q := pairs[i][0], pairs[i][1]
		i += run
		// Only whole characters of both.
		for run > 0 && (!f.whole(p) || !n.whole(q)) {
			p, q, run = p+1, q+1, run-1
		}
		for run > 0 && (!f.whole(p+run) || !n.whole(q+run)) {
			run--
		}
		if run > 0 {
			b.WriteString(replacement[n.at[next]:n.at[q]])
			b.WriteString(was[f.at[p]:f.at[p+run]])
			next = q + run
		}
	}
	b.WriteString(replacement[n.at[next]:])
	return b.String()
}

// align gives the pairs of places of a longest common subsequence of the bytes
// of two texts; of long texts only of what they share at their ends.
func align(a, b string) [][2]int {
	head, tail := 0, 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		head++
	}
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out [][2]int
	for i := range head {
		out = append(out, [2]int{i, i})
	}
	out = append(out, subsequence(a[head:len(a)-tail], b[head:len(b)-tail], head)...)
	for i := tail; i > 0; i-- {
		out = append(out, [2]int{len(a) - i, len(b) - i})
	}
	return out
}

func subsequence(a, b string, shift int) (out [][2]int) {
	if len(a) > maxAligned || len(b) > maxAligned {
		return nil
	}
	// best[i][j] is the length for a[i:] and b[j:].
	best := make([][]int16, len(a)+1)
	for i := range best {
		best[i] = make([]int16, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				best[i][j] = best[i+1][j+1] + 1
			} else {
				best[i][j] = max(best[i+1][j], best[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			out = append(out, [2]int{i + shift, j + shift})
			i, j = i+1, j+1
		case best[i+1][j] >= best[i][j+1]:
			i++
		default:
			j++
		}
	}
	return out
}

// differences names the characters of was, which begins at from of the text,
// that old writes in another way.
func (t *normalised) differences(from int, f, o *folded) string {
	var out []string
	named := map[string]bool{}
	prev := 0
	for k := 1; k <= len(f.text); k++ {
		if !f.whole(k) || !o.whole(k) {
			continue
		}
		a, b := f.source[f.at[prev]:f.at[k]], o.source[o.at[prev]:o.at[k]]
		if a != b && !named[a+"\x00"+b] {
			named[a+"\x00"+b] = true
			out = append(out, fmt.Sprintf("%s the file has %s where old_text has %s", t.position(from+f.at[prev]), nameAll(a), nameAll(b)))
		}
		prev = k
	}
	if more := len(out) - maxNamed; more > 0 {
		out = append(out[:maxNamed], fmt.Sprintf("and %d more differ", more))
	}
	return strings.Join(out, "; ")
}

// position writes a place of the text as "at 3:14", line and column in characters.
func (t *normalised) position(i int) string {
	start := strings.LastIndexByte(t.text[:i], '\n') + 1
	return fmt.Sprintf("at %d:%d", lineAt(t.text, i), 1+utf8.RuneCountInString(t.text[start:i]))
}

// nameAll names the characters of a short text.
func nameAll(s string) string {
	if s == "" {
		return "nothing"
	}
	var names []string
	for _, r := range s {
		if len(names) == maxNamed {
			names = append(names, "...")
			break
		}
		names = append(names, textfile.RuneName(r))
	}
	return strings.Join(names, " + ")
}
