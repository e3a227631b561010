package tool

import (
	"cmp"
	"slices"
)

// view is what the model knows of a file.
type view struct {
	// digest is that of the file as it was then.
	digest string
	// whole says that all of it was shown, or written by the model.
	whole bool
	// parts are those that were shown until then, in order and apart.
	parts []part
}

// place is a column of a line, both counted from 1.
type place struct{ line, column int }

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.line, q.line), cmp.Compare(p.column, q.column))
}

// part is what lies from one place up to another.
type part struct{ from, to place }

// add notes one more part.
func (v *view) add(p part) {
	v.parts = append(v.parts, p)
	slices.SortFunc(v.parts, func(a, b part) int { return a.from.compare(b.from) })
	joined := v.parts[:1]
	for _, p := range v.parts[1:] {
		last := &joined[len(joined)-1]
		switch {
		case p.from.compare(last.to) > 0:
			joined = append(joined, p)
		case p.to.compare(last.to) > 0:
			last.to = p.to
		}
	}
	v.parts = joined
}

// covers says that everything up to a place was shown.
func (v *view) covers(to place) bool {
	return len(v.parts) > 0 && v.parts[0].from.compare(place{1, 1}) <= 0 && v.parts[0].to.compare(to) >= 0
}

// remember notes the digest of a file as the model knows it now, and whether it
// knows all of it.
func (s *Set) remember(path, digest string, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[path] = view{digest: digest, whole: whole}
}

// rememberLines notes the first lines of a result, which were shown from a column
// of a line on; none of them is for the digest alone.
func (s *Set) rememberLines(l *Lines, from place, shown int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.seen[l.Path]
	if v.digest != l.Digest {
		v = view{digest: l.Digest}
	}
	at := from
	for i, line := range l.Lines[:shown] {
		end := place{from.line + i + 1, 1}
		if line.OmittedBytes > 0 {
			end = place{from.line + i, line.Next}
		}
		v.add(part{at, end})
		at = place{from.line + i + 1, 1}
	}
	if v.whole = v.whole || l.Size == 0 || v.covers(place{l.TotalLines + 1, 1}); v.whole {
		v.parts = nil
	}
	s.seen[l.Path] = v
}

// known is what the model knows of a file; the digest is empty if it knows nothing.
func (s *Set) known(path string) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[path]
}
