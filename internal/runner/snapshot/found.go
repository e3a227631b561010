package snapshot

import (
	"fmt"
	"math"
	"slices"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/text"
)

// found is what there is in a folder.
type found struct {
	// items are in the order of a walk.
	items []*item
	// pending are the indexes of those whose content has to be read, and of hard links.
	pending []int
	// first are the files with several names, by the first name.
	first map[inode]*item
	// bytes is the sum of the files' sizes.
	bytes int64
	left  leftOut
}

// join puts what a walk and those beside it have found together, in the order of the
// paths. It gives the notes on files with several names.
func (w *walk) join(f *found) (linked []note) {
	from := 0
	take := func(to int) {
		f.items = append(f.items, w.items[from:to]...)
		from = to
	}
	for _, n := range w.notes {
		take(n.at)
		n.at = len(f.items)
		switch {
		case n.other != nil:
			linked = append(linked, n.other.join(f)...)
		case n.left != "":
			f.left.add(n.left)
		case n.linked:
			linked = append(linked, n)
		default:
			f.pending = append(f.pending, n.at)
		}
	}
	take(len(w.items))
	f.left.more += w.more
	return linked
}

// linkAll makes the names of a file that come after its first hard links, and adds up the
// sizes.
func (f *found) linkAll(linked []note) {
	for _, n := range linked {
		it := f.items[n.at]
		if first := f.first[it.sig.inode()]; first != nil {
			f.items[n.at] = it.linkTo(first)
			f.pending = append(f.pending, n.at)
			continue
		}
		if it.kind != record.EntryFile { // it was another name, and the first is gone
			it = it.as(record.EntryFile)
			f.items[n.at], n.changed = it, true
		}
		if n.changed {
			f.pending = append(f.pending, n.at)
		}
		f.remember(it)
	}
	if len(linked) > 0 {
		slices.Sort(f.pending)
	}
	for _, it := range f.items {
		if it.kind == record.EntryFile {
			f.bytes = addSizes(f.bytes, it.sig.size)
		}
	}
}

func (f *found) remember(first *item) {
	if f.first == nil {
		f.first = map[inode]*item{}
	}
	f.first[first.sig.inode()] = first
}

// addSizes adds what somebody else has chosen.
func addSizes(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

const (
	maxLeftOut      = 100
	maxLeftOutBytes = 300
)

// leftOut names what is not in a snapshot.
type leftOut struct {
	names []string
	more  int
}

func (l *leftOut) add(words string) {
	if len(l.names) >= maxLeftOut-1 {
		l.more++
		return
	}
	l.names = append(l.names, words)
}

func leftWords(path, why string) string {
	return text.ClipStart(text.Inline(path), maxLeftOutBytes) + " " + why
}

func (l *leftOut) list() []string {
	if l.more == 0 {
		return l.names
	}
	return append(l.names, fmt.Sprintf("and %d more", l.more))
}
