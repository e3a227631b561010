package snapshot

import (
	"crypto/sha256"
	"fmt"

	"github.com/sampan-dev/sampan/internal/runner/nofollow"
)

// Chunks of small files are stored as they are made, a few files of each snapshot.
// So that neither what is stored nor the number of chunks grows with the run, a
// snapshot puts the files of some chunks into new ones: of each that has more dead
// bytes than live ones, and of all small ones when there are many.
const (
	smallPack     = 128 << 10
	maxSmallPacks = 64
)

// markLive marks what some items have, and counts it.
func markLive(items []*item, mark uint64) (packs []*pack, contents int) {
	for _, it := range items {
		c := it.content
		if c == nil || c.take == mark {
			continue
		}
		c.take = mark
		contents++
		p := c.pack
		if p.take != mark {
			p.take, p.live = mark, 0
			packs = append(packs, p)
		}
		p.live += c.length
	}
	return packs, contents
}

// wasteful gives the chunks of small files that are not to stay.
func wasteful(packs []*pack) map[*pack]bool {
	waste, small := map[*pack]bool{}, map[*pack]bool{}
	for _, p := range packs {
		if p.live < p.size/2 {
			waste[p] = true
		} else if p.size < smallPack {
			small[p] = true
		}
	}
	if len(small) > maxSmallPacks {
		for p := range small {
			waste[p] = true
		}
	}
	return waste
}

// repack puts the files of wasteful chunks into others. A file that cannot be read
// any more keeps its content where it is.
func (t *take) repack(mark uint64) error {
	packs, _ := markLive(t.items, mark)
	waste := wasteful(packs)
	delete(waste, t.packer.pack) // the one that others are about to join
	if len(waste) == 0 {
		return nil
	}
	moved := map[*content]*content{}
	for i, it := range t.items {
		c := it.content
		if c == nil || !waste[c.pack] {
			continue
		}
		to := moved[c]
		if to == nil {
			var err error
			if to, err = t.move(it, c); err != nil {
				return err
			}
			if to == nil {
				continue
			}
			moved[c] = to
		}
		again := *it
		again.content = to
		t.items[i] = &again
	}
	return nil
}

// move reads a content again and packs it. It gives nil if the file has another now:
// the next snapshot will see.
func (t *take) move(it *item, c *content) (*content, error) {
	var to *content
	_, err := t.open(it, func(now *item, fd int) error {
		if now.sig.size != c.length {
			return nil
		}
		data, err := t.readSmall(now, fd)
		if err != nil {
			return fmt.Errorf("packing it with others: %w", err)
		}
		if sha256.Sum256(data) == c.sum {
			t.pack(now, c.sum, data)
			to = now.content
		}
		return nil
	})
	if nofollow.Denied(err) {
		return nil, nil
	}
	return to, err
}
