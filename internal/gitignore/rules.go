// Package gitignore tells which files git would ignore, by the patterns of
// gitignore(5).
package gitignore

import (
	"bytes"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Decision of some rules about a path.
type Decision int

// The decisions.
const (
	// None of the rules is about the path.
	None Decision = iota
	// Ignored is a path that is ignored.
	Ignored
	// Included is a path that is not, by a rule with an exclamation mark.
	Included
)

// maxRules bounds what is read of one file.
const maxRules = 20_000

// Rules are those of one file, for the paths below its folder.
type Rules []rule

// rule is one pattern. Most are names or endings of names, which need no glob.
type rule struct {
	glob string
	// name, or ending of the name, where the pattern is no more than that.
	name, ending string
	// path says that the glob is for the path from the folder, not for the name.
	path             bool
	include, dirOnly bool
}

// Parse reads the patterns of a file. A pattern that is not valid matches
// nothing, as in git.
func Parse(data []byte) Rules {
	var out Rules
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for line := range strings.Lines(string(data)) {
		if r, ok := parse(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")); ok && len(out) < maxRules {
			out = append(out, r)
		}
	}
	return out
}

func parse(p string) (r rule, ok bool) {
	if p = trimSpaces(p); p == "" || p[0] == '#' {
		return r, false
	}
	if p[0] == '!' {
		r.include, p = true, p[1:]
	}
	if rest, found := strings.CutSuffix(p, "/"); found {
		r.dirOnly, p = true, rest
	}
	if r.path = strings.Contains(p, "/"); r.path {
		p = strings.TrimPrefix(p, "/")
	}
	if p == "" {
		return r, false
	}
	ending, isEnding := strings.CutPrefix(p, "*")
	switch {
	case !r.path && !strings.ContainsAny(p, `*?[\`):
		r.name = p
	case !r.path && isEnding && ending != "" && !strings.ContainsAny(ending, `*?[\`):
		r.ending = ending
	default:
		r.glob = translate(p)
		if r.path && strings.HasSuffix(r.glob, "/**") {
			r.glob += "/*" // what is in the folder, not the folder
		}
		return r, doublestar.ValidatePattern(r.glob)
	}
	return r, true
}

// trimSpaces removes spaces at the end that no backslash protects.
func trimSpaces(p string) string {
	end := len(p)
	for end > 0 && p[end-1] == ' ' {
		end--
	}
	if end == len(p) {
		return p
	}
	slashes := 0
	for slashes < end && p[end-1-slashes] == '\\' {
		slashes++
	}
	if slashes%2 == 1 {
		end++
	}
	return p[:end]
}

// classes are the names within brackets that git knows and doublestar does not.
var classes = strings.NewReplacer(
	"[:alnum:]", "a-zA-Z0-9", "[:alpha:]", "a-zA-Z", "[:blank:]", ` \t`, "[:digit:]", "0-9", "[:lower:]", "a-z",
	"[:upper:]", "A-Z", "[:space:]", " \t\n\r\v\f", "[:xdigit:]", "0-9a-fA-F", "[:punct:]", "!-/:-@\\[-`{-~",
)

// translate writes a pattern of git for doublestar, to which braces mean something.
func translate(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '\\':
			b.WriteByte(c)
			if i++; i < len(p) {
				b.WriteByte(p[i])
			}
		case '{', '}':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '[':
			n := bracket(p[i:])
			if n == 0 {
				return "[" // matches nothing, in git as well
			}
			b.WriteString(class(p[i : i+n]))
			i += n - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// bracket is the length of a bracket expression, 0 if it has no end.
func bracket(p string) int {
	i := 1
	if i < len(p) && (p[i] == '!' || p[i] == '^') {
		i++
	}
	for first := true; i < len(p); first = false {
		switch {
		case p[i] == ']' && !first:
			return i + 1
		case p[i] == '\\':
			i++
		case strings.HasPrefix(p[i:], "[:"):
			if end := strings.Index(p[i:], ":]"); end > 0 {
				i += end + 1
			}
		}
		i++
	}
	return 0
}

func class(p string) string {
	body := p[1 : len(p)-1]
	not := ""
	if body != "" && (body[0] == '!' || body[0] == '^') {
		not, body = "^", body[1:]
	}
	if rest, ok := strings.CutPrefix(body, "]"); ok {
		body = `\]` + rest
	}
	return "[" + not + classes.Replace(body) + "]"
}

// Match decides on a path relative to the folder of the rules. The last rule
// that is about it counts.
func (rs Rules) Match(rel string, isDir bool) Decision {
	name := path.Base(rel)
	for i := len(rs) - 1; i >= 0; i-- {
		r := &rs[i]
		if r.dirOnly && !isDir || !r.matches(rel, name) {
			continue
		}
		if r.include {
			return Included
		}
		return Ignored
	}
	return None
}

func (r *rule) matches(rel, name string) bool {
	switch {
	case r.name != "":
		return name == r.name
	case r.ending != "":
		return strings.HasSuffix(name, r.ending)
	case r.path:
		return doublestar.MatchUnvalidated(r.glob, rel)
	}
	return doublestar.MatchUnvalidated(r.glob, name)
}
