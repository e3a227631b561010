package openai

import (
	"errors"
	"fmt"
	"strings"
)

// What a reply may hold. A reply of 128,000 tokens has some 600 KiB of text; what
// is far above that is not the work of a model, and would cost memory many times
// its size.
const (
	// maxReplyBytes caps text, thoughts and arguments together.
	maxReplyBytes = 2 << 20
	// maxEventBytes caps the JSON of a whole reply, of one event of a stream, and
	// any line.
	maxEventBytes = 8 << 20
	// maxStreamBytes caps the data of a stream, without comments, maxUnpackedBytes
	// all that comes out of a compressed reply.
	maxStreamBytes   = 256 << 20
	maxUnpackedBytes = 64 << 20
	// maxCalls caps the tool calls, maxChoices the choices of a reply.
	maxCalls   = 128
	maxChoices = 16
	// maxElements caps any other list, maxContainers the lists and objects of one
	// event, maxNesting how deep they nest.
	maxElements   = 4096
	maxContainers = 16384
	maxNesting    = 64
)

// errTooLarge is what all of a tooLargeError are.
var errTooLarge = errors.New("the reply is larger than this client takes")

// tooLargeError names the bound that a reply went over.
type tooLargeError struct{ what string }

func (e *tooLargeError) Error() string { return "the reply has " + e.what }

func (e *tooLargeError) Is(target error) bool { return target == errTooLarge }

func moreThan(n int, what string) error {
	if n >= 1<<20 {
		return &tooLargeError{fmt.Sprintf("more than %d MiB %s", n>>20, what)}
	}
	return &tooLargeError{fmt.Sprintf("more than %d %s", n, what)}
}

// jsonShape follows JSON as it comes, without building anything: where a value
// ends, and that it stays within bounds. It does not say whether the JSON is valid.
type jsonShape struct {
	// at is how far the bytes were read.
	at int
	// open are the lists and objects around that place, innermost last.
	open              []container
	inString, escaped bool
	// from and to are the last string, without its quotes; named is set by the
	// colon after it, until the value.
	from, to   int
	named      bool
	containers int
}

type container struct {
	list bool
	// elements counts commas; most of them are allowed.
	elements, most int
	what           string
	// uncounted lists are not read into anything.
	uncounted bool
}

func (s *jsonShape) reset() { *s = jsonShape{open: s.open[:0]} }

// next reads on in data, which holds all that came so far, and gives where the
// value ends that begins it; 0 while it has not ended.
func (s *jsonShape) next(data []byte) (int, error) {
	for ; s.at < len(data); s.at++ {
		c := data[s.at]
		switch {
		case s.escaped:
			s.escaped = false
		case s.inString:
			switch c {
			case '\\':
				s.escaped = true
			case '"':
				s.inString, s.to = false, s.at
			}
		case c == '"':
			s.inString, s.from, s.named = true, s.at+1, false
		case c == ':':
			s.named = true
		case c == ',':
			if err := s.comma(); err != nil {
				return 0, err
			}
		case c == '{' || c == '[':
			if err := s.begin(c == '[', data); err != nil {
				return 0, err
			}
		case c == '}' || c == ']':
			if len(s.open) > 0 {
				s.open = s.open[:len(s.open)-1]
			}
			if len(s.open) == 0 {
				s.at++
				return s.at, nil
			}
		}
	}
	return 0, nil
}

func (s *jsonShape) comma() error {
	s.named = false
	if len(s.open) == 0 {
		return nil
	}
	c := &s.open[len(s.open)-1]
	if c.elements++; c.elements >= c.most && c.list && !c.uncounted {
		return moreThan(c.most, c.what)
	}
	return nil
}

func (s *jsonShape) begin(list bool, data []byte) error {
	if len(s.open) >= maxNesting {
		return moreThan(maxNesting, "levels of lists and objects")
	}
	c := container{list: list, most: maxElements, what: "elements in a list"}
	if n := len(s.open); n > 0 {
		c.uncounted = s.open[n-1].uncounted
	}
	if s.named {
		switch name := string(data[s.from:s.to]); {
		case name == "tool_calls":
			c.most, c.what = maxCalls, "tool calls"
		case name == "choices":
			c.most, c.what = maxChoices, "choices"
		case strings.HasSuffix(name, "logprobs"), strings.HasSuffix(name, "token_ids"):
			c.uncounted = true
		}
	}
	s.named = false
	if !c.uncounted {
		if s.containers++; s.containers > maxContainers {
			return moreThan(maxContainers, "lists and objects in one event")
		}
	}
	s.open = append(s.open, c)
	return nil
}

// plainJSON makes JSON of what sloppy encoders write: NaN and Infinity become null,
// raw control characters in strings become escapes.
func plainJSON(data []byte) []byte {
	out := make([]byte, 0, len(data)+16)
	inString, escaped := false, false
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch {
		case inString && !escaped && c < ' ':
			out = fmt.Appendf(out, "\\u%04x", c)
			continue
		case escaped:
			escaped = false
		case inString:
			escaped, inString = c == '\\', c != '"'
		case c == '"':
			inString = true
		case c == 'N' || c == 'I' || c == '-':
			if word := notANumber(data[i:]); word > 0 {
				out = append(out, "null"...)
				i += word - 1
				continue
			}
		}
		out = append(out, c)
	}
	return out
}

// notANumber is the length of the word that data begins with and JSON does not know.
func notANumber(data []byte) int {
	for _, word := range []string{"NaN", "Infinity", "-Infinity", "-NaN", "None"} {
		if len(data) >= len(word) && string(data[:len(word)]) == word {
			return len(word)
		}
	}
	return 0
}
