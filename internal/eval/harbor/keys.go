package harbor

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// setting is one key of a TOML document that has no table as its value.
type setting struct {
	// key has the tables before it, as in environment.cpus.
	key   string
	line  int
	value any
}

// positionError is what is wrong with a document, and in which line.
type positionError struct {
	line int
	err  error
}

func (e *positionError) Error() string { return e.err.Error() }

// parse gives the settings of a TOML document in their order. Of an array of tables there
// is one, for the first of them.
func parse(data string) ([]setting, error) {
	var values map[string]any
	if err := toml.Unmarshal([]byte(data), &values); err != nil {
		var bad *toml.DecodeError
		if errors.As(err, &bad) {
			line, _ := bad.Position()
			return nil, &positionError{line, fmt.Errorf("not TOML: %s", strings.TrimPrefix(bad.Error(), "toml: "))}
		}
		return nil, err
	}
	w := &walker{values: values, arrays: map[string]bool{}}
	w.parser.Reset([]byte(data))
	var table []string
	for w.parser.NextExpression() {
		e := w.parser.Expression()
		key, line := w.key(e)
		switch e.Kind { //nolint:exhaustive // others are inside of these
		case unstable.Table:
			table = key
		case unstable.ArrayTable:
			table = key
			w.array(key, line)
		case unstable.KeyValue:
			w.add(table, e)
		}
	}
	return w.settings, w.parser.Error()
}

type walker struct {
	parser   unstable.Parser
	values   map[string]any
	arrays   map[string]bool
	settings []setting
}

func (w *walker) key(e *unstable.Node) (parts []string, line int) {
	for it := e.Key(); it.Next(); {
		parts = append(parts, string(it.Node().Data))
		if line == 0 {
			line = w.parser.Shape(it.Node().Raw).Start.Line
		}
	}
	return parts, line
}

func (w *walker) array(key []string, line int) {
	name := strings.Join(key, ".")
	if !w.arrays[name] {
		w.arrays[name] = true
		w.settings = append(w.settings, setting{name, line, w.find(key)})
	}
}

// add adds a value, or the values of an inline table.
func (w *walker) add(table []string, e *unstable.Node) {
	for a := range w.arrays {
		if name := strings.Join(table, "."); name == a || strings.HasPrefix(name, a+".") {
			return
		}
	}
	key, line := w.key(e)
	key = append(table[:len(table):len(table)], key...)
	if e.Value().Kind != unstable.InlineTable {
		w.settings = append(w.settings, setting{strings.Join(key, "."), line, w.find(key)})
		return
	}
	for it := e.Value().Children(); it.Next(); {
		w.add(key, it.Node())
	}
}

func (w *walker) find(key []string) any {
	var v any = w.values
	for _, k := range key {
		table, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = table[k]
	}
	return v
}
