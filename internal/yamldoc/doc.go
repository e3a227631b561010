// Package yamldoc reads YAML and JSON that users wrote. What it costs is bounded
// before any parser runs: a document's size, how deep it nests and how many values
// it has are checked by a scan of its bytes, and all that follows takes time and
// memory in proportion to its size. What is wrong is said with its place, and
// neither the number of such problems nor their length grows with the document.
package yamldoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sampan-dev/sampan/internal/text"
)

// Limits bound a document.
type Limits struct {
	// Bytes is its size.
	Bytes int
	// Depth is how many mappings and lists may be within each other.
	Depth int
	// Nodes is how many values it may have: keys, scalars, mappings and lists. What
	// an alias stands for counts each time.
	Nodes int
	// Aliases allows aliases and tags.
	Aliases bool
}

// MaxDepth is the Depth for documents whose own fields do not nest deeper.
const MaxDepth = 32

// Bounds on what is said of a document.
const (
	MaxProblems     = 20
	maxMessageBytes = 256
	maxPathBytes    = 128
)

// Problem is one thing that is wrong with a document.
type Problem struct {
	// Path is the field, like "models[0].toolCalls"; empty for a syntax error.
	Path string
	// Line and Column count from 1; 0 when not known.
	Line, Column int
	Message      string
}

// Error implements error: "line 4:7: models[0].id: …".
func (p *Problem) Error() string { return p.String() }

// String gives "line 4:7: models[0].id: …".
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 && p.Column > 0 {
		fmt.Fprintf(&b, "line %d:%d: ", p.Line, p.Column)
	} else if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems gathers what is wrong with a document, up to MaxProblems.
type Problems struct {
	list []Problem
	// more counts those that were left out.
	more int
}

// Full reports whether there is room for another: who looks for what somebody may
// have meant can save it.
func (ps *Problems) Full() bool { return len(ps.list) >= MaxProblems }

// Add keeps a problem, cut to its bound.
func (ps *Problems) Add(p Problem) {
	if ps.Full() {
		ps.more++
		return
	}
	p.Path, p.Message = text.Clip(p.Path, maxPathBytes), text.Clip(p.Message, maxMessageBytes)
	ps.list = append(ps.list, p)
}

// List gives what was gathered; the last says how many more there were.
func (ps *Problems) List() []Problem {
	if ps.more == 0 {
		return ps.list
	}
	return append(ps.list[:len(ps.list):len(ps.list)], Problem{Message: "and " + text.Plural(ps.more, "problem") + " more"})
}

// Parse reads one document. Errors are *Problem. The root is nil where the
// document is empty.
func Parse(data []byte, l Limits) (root *yaml.Node, err error) {
	defer func() {
		// The library is fed what users wrote; its bugs must not end a manager that
		// serves other people's tasks.
		if p := recover(); p != nil {
			root, err = nil, &Problem{Message: text.Clip(fmt.Sprintf("the document cannot be read: %v", p), maxMessageBytes)}
		}
	}()
	if err := Check(data, l); err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntaxProblem(err)
	}
	if err := atEnd(decoder); err != nil {
		return nil, err
	}
	if p := checkTree(&doc, l); p != nil {
		return nil, p
	}
	return doc.Content[0], nil
}

// atEnd refuses another document; one of nothing but comments is none.
func atEnd(decoder *yaml.Decoder) error {
	for {
		var next yaml.Node
		switch err := decoder.Decode(&next); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return syntaxProblem(err)
		case !isNull(next.Content[0]):
			return &Problem{Line: next.Line, Column: next.Column, Message: "a second document begins here; there can be only one"}
		}
	}
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxProblem gives an error of the library its place.
func syntaxProblem(err error) *Problem {
	said := err.Error()
	p := &Problem{Message: said}
	if m := syntaxLine.FindStringSubmatch(said); m != nil {
		p.Message = said[len(m[0]):]
		p.Line, _ = strconv.Atoi(m[1]) // none is 0: not known
	}
	p.Message = text.Clip(p.Message, maxMessageBytes)
	return p
}

// checkTree holds what was parsed to the limits, and refuses what makes a short
// text a large document or one that means something else than it says.
func checkTree(doc *yaml.Node, l Limits) *Problem {
	nodes := 0
	var walk func(n *yaml.Node, depth int) *Problem
	walk = func(n *yaml.Node, depth int) *Problem {
		if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
			depth++
		}
		nodes++
		message := ""
		switch {
		case n.Kind == yaml.AliasNode && !l.Aliases:
			message = "YAML aliases are not supported"
		case n.Style&yaml.TaggedStyle != 0 && !l.Aliases:
			message = "YAML tags are not supported"
		case depth > l.Depth:
			message = tooDeep(l)
		case nodes > l.Nodes:
			message = tooMany(l)
		}
		if message != "" {
			return &Problem{Line: n.Line, Column: n.Column, Message: message}
		}
		if n.Kind == yaml.AliasNode {
			return walk(n.Alias, depth) // one that holds itself ends at the depth
		}
		for _, child := range n.Content {
			if p := walk(child, depth); p != nil {
				return p
			}
		}
		return nil
	}
	return walk(doc, 0)
}

// Find gives the node at a path such as "models[0].id", nil where there is none.
func Find(root *yaml.Node, path string) *yaml.Node {
	n := root
	for path != "" && n != nil {
		if rest, found := strings.CutPrefix(path, "["); found {
			index, after, _ := strings.Cut(rest, "]")
			i, err := strconv.Atoi(index)
			if n.Kind != yaml.SequenceNode || err != nil || i < 0 || i >= len(n.Content) {
				return nil
			}
			n, path = n.Content[i], after
			continue
		}
		path = strings.TrimPrefix(path, ".")
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		n, path = value(n, path[:end]), path[end:]
	}
	return n
}

// value gives what a mapping has under a key.
func value(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
