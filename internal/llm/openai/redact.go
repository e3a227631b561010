package openai

import (
	"errors"
	"strings"
	"unicode"

	"github.com/sampan-dev/sampan/internal/text"
)

const redacted = "[redacted]"

// tokenLike finds what looks like a credential whoever it belongs to: servers
// echo keys back partly masked, and proxies add their own. Words of letters alone
// are left: "the bearer token is missing".
var tokenLike = compile(`(?i)\bbearer\s+[^\s"',;]*[0-9_*.\-][^\s"',;]*|\bbasic\s+[a-z0-9+/]{8,}=*|` +
	`\b(?:sk|gsk|xai|hf|ghp|gho|ghu|pplx|csk|nvapi|ak|fw|r8)[-_][A-Za-z0-9_*.\-]{4,}|\bAIza[A-Za-z0-9_\-]{8,}|\bAKIA[A-Z0-9]{8,}|` +
	`\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_.\-]+|([?&](?:api[_-]?)?(?:key|token)=)[^&\s"']+`)

// redactor takes secrets out of texts for people. The zero value knows none, and
// still takes out what looks like one.
type redactor struct {
	secrets []string
}

// minHeaderSecret is the length from which a configured header's value is taken
// for a secret; shorter ones ("true", "1") would eat harmless text.
const minHeaderSecret = 8

func newRedactor(key string, headers map[string]string) redactor {
	var r redactor
	if key != "" {
		r.secrets = append(r.secrets, key)
	}
	for _, value := range headers {
		if len(value) >= minHeaderSecret {
			r.secrets = append(r.secrets, value)
		}
	}
	return r
}

func (r redactor) text(s string) string {
	s = printable(s) // first: a key with something invisible in it is a key
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, redacted)
	}
	return tokenLike.ReplaceAllString(s, "${1}"+redacted)
}

// err gives a cause that is safe to print: the error itself, or its redacted text.
func (r redactor) err(err error) error {
	if err == nil {
		return nil
	}
	if s := r.text(err.Error()); s != err.Error() {
		return errors.New(s)
	}
	return err
}

// maxMessage bounds what of a server's words goes into an error.
const maxMessage = 600

// words makes one bounded line of a server's answer.
func (r redactor) words(s string) string {
	// Redacted before it is cut: half a key would no longer be found.
	s = strings.Join(strings.Fields(r.text(s)), " ")
	if len(s) > maxMessage {
		s = text.Clip(s, maxMessage+len("…"))
	}
	return s
}

// printable takes out what would do something to a terminal, or hide something
// from who reads it: control characters, and those that change the direction of
// text or have no width.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case unicode.Is(unicode.C, c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
