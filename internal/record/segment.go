package record

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// A segment is what one Append has added to the log. Its payload is the header, a line
// of JSON, and the lines, compressed.
type segment struct {
	First  int64  `json:"first"`
	Last   int64  `json:"last"`
	Writer Writer `json:"writer"`
	// Term is that of the writer's claim.
	Term int64 `json:"term"`
	// Lines is the digest of the lines, and Size the count of their bytes.
	Lines Digest `json:"lines"`
	Size  int    `json:"size"`
	// Chain is the sum of the segment before, empty in the first.
	Chain string `json:"chain,omitempty"`
}

// head is the end of a log: its last segment. The zero head is an empty log.
type head struct {
	first, last int64
	writer      Writer
	term        int64
	sum         string
}

const maxHeader = 4096

func (g segment) head(sum string) head {
	return head{first: g.First, last: g.Last, writer: g.Writer, term: g.Term, sum: sum}
}

func encodeSegment(g segment, lines []byte) ([]byte, error) {
	header, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("the header of a segment: %w", err)
	}
	return compress(append(header, '\n'), lines), nil
}

// stored is a segment as it was read, with its lines still compressed.
type stored struct {
	segment
	key  string
	sum  string
	body []byte
}

// segment reads the segment that begins with an event, and checks all of it but what
// its body decompresses to.
func (s *Store) segment(ctx context.Context, t Task, first int64) (stored, error) {
	return s.segmentHeld(ctx, t, first, &held{})
}

// segmentHeld is segment for a reader that holds the object: errCrowded where it has no
// room.
func (s *Store) segmentHeld(ctx context.Context, t Task, first int64, h *held) (stored, error) {
	key := t.logKey(first)
	payload, sum, err := s.getHeld(ctx, key, maxHeader+maxCompressed(MaxAppend), h)
	if err != nil {
		return stored{}, err
	}
	g := stored{key: key, sum: sum}
	header, body, _ := bytes.Cut(payload, []byte{'\n'})
	if err := json.Unmarshal(header, &g.segment); err != nil {
		return stored{}, &CorruptError{Object: key, Reason: "its header is not valid: " + err.Error()}
	}
	if g.First != first || g.Last < first || g.Size <= 0 || g.Size > MaxAppend {
		return stored{}, &CorruptError{Object: key, Reason: "its header contradicts itself"}
	}
	g.body = body
	return g, nil
}

// lines decompresses and checks the lines.
func (g stored) lines() ([]byte, error) {
	lines, err := decompress(g.key, g.body, g.Size)
	if err != nil {
		return nil, err
	}
	if len(lines) != g.Size || DigestOf(lines) != g.Lines || countLines(lines) != g.Last-g.First+1 {
		return nil, &CorruptError{Object: g.key, Reason: "its lines are not those that its header tells of"}
	}
	return lines, nil
}

func countLines(b []byte) int64 { return int64(bytes.Count(b, []byte{'\n'})) }
