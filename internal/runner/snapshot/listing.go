package snapshot

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sampan-dev/sampan/internal/record"
)

const (
	// minGroup and maxGroup bound the entries of a part of a listing. Between them it
	// ends with an entry of whose path's hash these bits are zero: what is added or
	// removed elsewhere does not move its end.
	minGroup, maxGroup = 16, 512
	groupCut           = 0x3f
)

// group is a part of a listing that is encoded and stored by itself.
type group struct {
	items  []*item
	chunks []record.Digest
}

// groupsOf cuts a listing; groups that the last one had are those.
func groupsOf(items []*item, last map[*item]*group) (groups, fresh []*group) {
	start := 0
	for i, it := range items {
		n := i + 1 - start
		if i+1 < len(items) && n < maxGroup && (n < minGroup || it.hash&groupCut != 0) {
			continue
		}
		g := last[items[start]]
		if g == nil || !slices.Equal(g.items, items[start:i+1]) {
			g = &group{items: items[start : i+1 : i+1]}
			fresh = append(fresh, g)
		}
		groups = append(groups, g)
		start = i + 1
	}
	return groups, fresh
}

// store encodes a group and stores it. A file of very many chunks may need several
// for its own entry.
func (g *group) store(up *uploader) error {
	var encoded []byte
	for _, it := range g.items {
		line, err := json.Marshal(it.entry())
		if err != nil {
			return fmt.Errorf("listing %q: %w", it.path, err)
		}
		encoded = append(append(encoded, line...), '\n')
	}
	g.chunks = make([]record.Digest, (len(encoded)+record.MaxChunk-1)/record.MaxChunk)
	for i := range g.chunks {
		part := getBuffer()
		*part = append(*part, encoded[:min(len(encoded), record.MaxChunk)]...)
		encoded = encoded[len(*part):]
		up.put(part, &g.chunks[i])
	}
	return nil
}
