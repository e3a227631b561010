package openai

import (
	"strings"
	"testing"
)

// A key that cannot be one is refused before it is sent, and not repeated.
func TestKeysAreChecked(t *testing.T) {
	for key, want := range map[string]string{
		"sk-a": "", " sk-a\n": "", "sk-a\r\n": "",
		"sk a": "spaces", "sk\na": "spaces", "Bearer sk-a": "begins with Bearer", `"sk-a"`: "in quotes", "'sk-a'": "in quotes",
		"sk-\u00e9": "a character", "sk-a\u200b": "a character", "sk\x00a": "a character",
	} {
		_, err := New(Config{BaseURL: "http://localhost/v1", APIKey: key})
		switch {
		case (err == nil) != (want == ""):
			t.Errorf("%q: %v", key, err)
		case err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sk")):
			t.Errorf("%q: %v, want %q without the key", key, err, want)
		}
	}
}
