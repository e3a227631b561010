package openai

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Opaque fields are what a server gives with a message or a call and wants back
// with it, such as the signature of the thoughts that led to a call. Nobody else
// can read them, and others refuse them.

// opaqueFields are such fields by name, as they came.
type opaqueFields map[string]json.RawMessage

// maxOpaqueBytes caps what is kept of them for one message or call.
const maxOpaqueBytes = 1 << 20

// wireOpaque are the opaque fields of messages. Which fields of a message a server
// wants back is known; most of what else is in one (annotations, a filter's
// findings) it would refuse.
type wireOpaque struct {
	ReasoningDetails   json.RawMessage `json:"reasoning_details"`
	ThinkingBlocks     json.RawMessage `json:"thinking_blocks"`
	ProviderFields     json.RawMessage `json:"provider_specific_fields"`
	ExtraContent       json.RawMessage `json:"extra_content"`
	ReasoningOpaque    json.RawMessage `json:"reasoning_opaque"`
	ReasoningSignature json.RawMessage `json:"reasoning_signature"`
	ThoughtSignature   json.RawMessage `json:"thought_signature"`
	EncryptedContent   json.RawMessage `json:"encrypted_content"`
}

func (w *wireOpaque) each(f func(name string, value json.RawMessage)) {
	f("reasoning_details", w.ReasoningDetails)
	f("thinking_blocks", w.ThinkingBlocks)
	f("provider_specific_fields", w.ProviderFields)
	f("extra_content", w.ExtraContent)
	f("reasoning_opaque", w.ReasoningOpaque)
	f("reasoning_signature", w.ReasoningSignature)
	f("thought_signature", w.ThoughtSignature)
	f("encrypted_content", w.EncryptedContent)
}

// callFields are the fields of a call that are read and written by themselves.
var callFields = []string{"index", "id", "type", "function", "name", "arguments"}

// functionPrefix marks an opaque field that stands inside of "function".
const functionPrefix = "function."

// unknownFields gives the fields of a call that nothing here knows; of an object
// that is valid JSON.
func unknownFields(call []byte) opaqueFields {
	var out opaqueFields
	add := func(name string, value []byte) {
		if out == nil {
			out = opaqueFields{}
		}
		out[name] = bytes.Clone(value)
	}
	eachField(call, func(name, value []byte) {
		switch {
		case string(name) == "function" && value[0] == '{':
			eachField(value, func(name, value []byte) {
				if string(name) != "name" && string(name) != "arguments" && !meansNothing(value) {
					add(functionPrefix+string(name), value)
				}
			})
		case !slices.Contains(callFields, string(name)) && !meansNothing(value):
			add(string(name), value)
		}
	})
	return out
}

func meansNothing(value []byte) bool {
	switch string(value) {
	case "", "null", `""`, "{}", "[]":
		return true
	}
	return false
}

// eachField calls f with the names and values of an object that is valid JSON. It
// allocates nothing, since every piece of a streamed call goes through it.
func eachField(object []byte, f func(name, value []byte)) {
	i := skipSpace(object, 0)
	if i >= len(object) || object[i] != '{' {
		return
	}
	for i++; ; {
		if i = skipSpace(object, i); i >= len(object) || object[i] != '"' {
			return
		}
		name := i
		i = skipValue(object, i)
		nameEnd := i
		i = skipSpace(object, skipSpace(object, i)+1) // the colon
		value := i
		i = skipValue(object, i)
		f(object[name+1:nameEnd-1], object[value:i])
		if i = skipSpace(object, i); i < len(object) && object[i] == ',' {
			i++
		}
	}
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r') {
		i++
	}
	return i
}

// skipValue gives the end of the value that begins at i.
func skipValue(data []byte, i int) int {
	depth := 0
	for ; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(data))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // behind a number or word
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return min(i, len(data))
}

// add joins the fields of a later piece of the same message or call.
func (o *opaqueFields) add(name string, value json.RawMessage) {
	if meansNothing(value) {
		return
	}
	if *o == nil {
		*o = opaqueFields{}
	}
	(*o)[name] = joinOpaque((*o)[name], value)
}

// set takes a field as it is, in the place of what came before.
func (o *opaqueFields) set(name string, value json.RawMessage) {
	if *o == nil {
		*o = opaqueFields{}
	}
	(*o)[name] = value
}

// joinOpaque puts two pieces of a streamed value together. Lists grow, and the
// pieces of one text in them become one again; of anything else the later counts.
func joinOpaque(before, later json.RawMessage) json.RawMessage {
	later = bytes.Clone(later)
	if len(before) == 0 || before[0] != later[0] {
		return later
	}
	switch later[0] {
	case '[':
		var a, b []json.RawMessage
		if json.Unmarshal(before, &a) != nil || json.Unmarshal(later, &b) != nil {
			return later
		}
		for _, item := range b {
			if n := len(a); n > 0 {
				if one, ok := joinBlocks(a[n-1], item); ok {
					a[n-1] = one
					continue
				}
			}
			a = append(a, item)
		}
		return marshalRaw(a, later)
	case '{':
		var a, b opaqueFields
		if json.Unmarshal(before, &a) != nil || json.Unmarshal(later, &b) != nil {
			return later
		}
		for name, value := range b {
			a.add(name, value)
		}
		return marshalRaw(a, later)
	}
	return later
}

// blockTexts are the fields of a block of thoughts whose text comes in pieces.
var blockTexts = []string{"text", "thinking", "summary"}

// joinBlocks puts together two pieces of a block of thoughts: of the same type
// and place, and the first not yet closed by a signature.
func joinBlocks(before, later json.RawMessage) (json.RawMessage, bool) {
	var a, b opaqueFields
	if json.Unmarshal(before, &a) != nil || json.Unmarshal(later, &b) != nil || a == nil || b == nil {
		return nil, false
	}
	if !bytes.Equal(a["type"], b["type"]) || !bytes.Equal(a["index"], b["index"]) ||
		!meansNothing(a["signature"]) || len(a["data"]) > 0 || len(b["data"]) > 0 {
		return nil, false
	}
	pieces := false
	for name, value := range b {
		if slices.Contains(blockTexts, name) && isText(a[name]) && isText(value) {
			a[name] = quote(wholeSigns(unquote(a[name]) + unquote(value)))
			pieces = true
		} else if !meansNothing(value) {
			a[name] = value
			pieces = pieces || name == "signature"
		}
	}
	if !pieces {
		return nil, false
	}
	return marshalRaw(a, later), true
}

func isText(value json.RawMessage) bool { return len(value) > 0 && value[0] == '"' }

func quote(s string) json.RawMessage {
	text, err := marshalPlain(s)
	if err != nil {
		return json.RawMessage(`""`) // strings always marshal
	}
	return json.RawMessage(text)
}

func marshalRaw(v any, otherwise json.RawMessage) json.RawMessage {
	text, err := marshalPlain(v)
	if err != nil {
		return otherwise
	}
	return json.RawMessage(text)
}

// text is the fields as the text of one JSON object, empty where there are none.
// ok is false where they are too long to keep.
func (o opaqueFields) text() (text string, ok bool) {
	if len(o) == 0 {
		return "", true
	}
	text, err := marshalPlain(o)
	if err != nil || len(text) > maxOpaqueBytes {
		return "", false
	}
	return wholeSigns(text), true
}

// parseOpaque is the reverse of text: the fields beside a call's own and, apart,
// those inside of its "function".
func parseOpaque(text string) (fields, inFunction opaqueFields) {
	if text == "" || json.Unmarshal([]byte(text), &fields) != nil {
		return nil, nil
	}
	for _, name := range slices.Collect(maps.Keys(fields)) {
		if inner, ok := strings.CutPrefix(name, functionPrefix); ok {
			if inFunction == nil {
				inFunction = opaqueFields{}
			}
			inFunction[inner] = fields[name]
			delete(fields, name)
		}
	}
	return fields, inFunction
}
