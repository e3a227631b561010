package transcript

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"sort"
	"strings"
)

// Redacted stands where a secret was.
const Redacted = "[redacted]"

// minSecretBytes keeps very short "secrets" from wiping out ordinary words.
const minSecretBytes = 6

// Redactor takes known secret values out of texts: as they are, as JSON
// strings (also inside another JSON string, as tool arguments are), as URL
// parts, and as base64, alone or in the middle of a longer encoded text.
type Redactor struct {
	plain  []string // forms to look for in text
	inJSON [][]byte // the same, and as they appear in encoded JSON
}

// NewRedactor takes the values to hide; those under 6 bytes are ignored.
func NewRedactor(secrets []string) *Redactor {
	plain, inJSON := map[string]bool{}, map[string]bool{}
	for _, s := range secrets {
		s = strings.TrimSpace(s)
		if len(s) < minSecretBytes {
			continue
		}
		for _, form := range textForms(s) {
			plain[form] = true
			inJSON[form] = true
			for _, esc := range jsonForms(form) {
				inJSON[esc] = true
				plain[esc] = true
				for _, twice := range jsonForms(esc) {
					inJSON[twice] = true
				}
			}
		}
	}
	r := &Redactor{plain: longestFirst(plain)}
	for _, form := range longestFirst(inJSON) {
		r.inJSON = append(r.inJSON, []byte(form))
	}
	return r
}

// String redacts a plain text.
func (r *Redactor) String(s string) string {
	for _, form := range r.plain {
		if strings.Contains(s, form) {
			s = strings.ReplaceAll(s, form, Redacted)
		}
	}
	return s
}

// JSON redacts the string values of encoded JSON. The input is returned as it
// is when it holds no secret, which is nearly always.
func (r *Redactor) JSON(data []byte) ([]byte, error) {
	if !slices.ContainsFunc(r.inJSON, func(form []byte) bool { return bytes.Contains(data, form) }) {
		return data, nil
	}
	// A form may begin inside an escape, or be a number or a field's name, so
	// it is replaced in decoded values and never in the encoded text.
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r.value(v)); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func (r *Redactor) value(v any) any {
	switch v := v.(type) {
	case string:
		return r.String(v)
	case []any:
		for i := range v {
			v[i] = r.value(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = r.value(v[k])
		}
	}
	return v
}

// textForms are the ways a secret shows up in text.
func textForms(s string) []string {
	forms := []string{s, url.QueryEscape(s), url.PathEscape(s)}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			if f := base64Middle(enc, s, shift); len(f) >= minSecretBytes {
				forms = append(forms, f)
			}
		}
	}
	return forms
}

// base64Middle gives the characters of an encoded text that depend on s alone
// when shift bytes precede it in its group of three.
func base64Middle(enc *base64.Encoding, s string, shift int) string {
	padded := append(make([]byte, shift), s...)
	encoded := enc.EncodeToString(padded)
	// The first characters also hold bits of what comes before, the last one
	// of what follows.
	start := []int{0, 2, 3}[shift]
	end := len(padded) * 8 / 6
	return encoded[start:end]
}

// jsonForms are the ways a text is written inside a JSON string; encoders
// differ on <, > and &.
func jsonForms(s string) []string {
	var forms []string
	for _, html := range []bool{true, false} {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(html)
		if err := enc.Encode(s); err != nil {
			continue
		}
		f := strings.TrimSuffix(buf.String(), "\n")
		if f = f[1 : len(f)-1]; f != s {
			forms = append(forms, f)
		}
	}
	return forms
}

// longestFirst so that a form is not broken up by a shorter one inside it.
func longestFirst(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for s := range set {
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool {
		if len(out[i]) != len(out[j]) {
			return len(out[i]) > len(out[j])
		}
		return out[i] < out[j]
	})
	return out
}
