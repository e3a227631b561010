package textfile

import (
	"unicode"
	"unicode/utf8"

	"github.com/gogs/chardet"
	"golang.org/x/text/encoding"
)

// guess weighs what the detector's statistics say against what the text would
// look like: statistics know little of a short text, and of one that is mostly
// a program.
func guess(text []byte) Format {
	confidence := map[string]float64{}
	if found, err := chardet.NewTextDetector().DetectAll(text); err == nil {
		for _, r := range found {
			confidence[r.Charset] = max(float64(r.Confidence), confidence[r.Charset])
		}
	}
	// The likeliest before anything is known, and what holds any byte.
	confidence["ISO-8859-1"] = max(confidence["ISO-8859-1"], 20) + 10
	confidence["ISO-8859-5"] -= 15 // hardly ever used
	// Whatever forms pairs without a fault is seldom anything else; the letters
	// of Korean are a part of what Chinese fills.
	for _, m := range []string{"Shift_JIS", "EUC-JP", "GB-18030", "Big5"} {
		confidence[m] += 20
	}
	confidence["EUC-KR"] += 25
	best, most := latin1, 0.0
	for i, l := range legacy {
		if score := confidence[l.detected] - oddness(l.format.enc, text); i == 0 || score > most {
			best, most = l.format, score
		}
	}
	return best
}

// oddness is 0 for a text that looks like one, about 100 for nonsense.
func oddness(enc encoding.Encoding, text []byte) float64 {
	runes := []rune(Format{enc: enc}.Decode(text))
	han, kana := 0, 0
	odd, n := 0.0, 0.0
	for i, r := range runes {
		if r < utf8.RuneSelf {
			continue
		}
		before, after := ' ', ' '
		if i > 0 {
			before = runes[i-1]
		}
		if i+1 < len(runes) {
			after = runes[i+1]
		}
		n++
		odd += oddRune(before, r, after)
		switch {
		case unicode.Is(unicode.Han, r):
			han++
			if rare(enc, r) {
				odd += 0.7
			}
		case unicode.In(r, unicode.Hiragana, unicode.Katakana):
			kana++
		}
	}
	switch {
	case n == 0:
		return 0
	case isKorean(enc):
		odd += 2 * float64(han) // Chinese characters are no longer written in Korean
	case japaneseEncoding(enc) && kana == 0:
		odd += 0.2 * float64(han)
	}
	return 100 * odd / n
}

func oddRune(before, r, after rune) float64 {
	switch {
	case r == '\uFFFD', r < 0xa0, unicode.Is(unicode.Co, r), !unicode.IsGraphic(r) && !unicode.Is(unicode.Cf, r):
		return 3
	case r >= 0xff61 && r <= 0xff9f: // half-width katakana, into which many bytes fall
		return 1
	case unicode.IsMark(r) && script(before) != 'h' && script(before) != 'r', r == '\u0192':
		return 1
	case unicode.IsLetter(r):
		return oddLetter(before, r, after)
	}
	return oddSign(before, r, after)
}

// oddSign is oddRune of what is no letter.
func oddSign(before, r, after rune) float64 {
	within := unicode.IsLetter(before) && unicode.IsLetter(after)
	switch {
	case r == '\u2019' && script(before) == 'a' || r == '\u00ad' || script(before) == 'x' || script(after) == 'x':
		return 0 // an apostrophe; signs between Chinese letters
	case within, before >= utf8.RuneSelf && unicode.IsLetter(before), before >= 0xa0 && before < 0xc0 && after >= 0xa0:
		return 2 // a sign within a word
	case unicode.IsLetter(before) && unicode.In(r, unicode.No, unicode.Sc, unicode.Sk):
		return 0.5
	case unicode.IsSymbol(r):
		return 0.2
	}
	return 0
}

func oddLetter(before, r, after rune) float64 {
	s, b, a := script(r), script(before), script(after)
	switch {
	case b != 0 && b != s, a != 0 && a != s,
		unicode.IsUpper(r) && unicode.IsLower(before):
		return 1
	case s == 'a' && b == 'a' && before >= utf8.RuneSelf:
		if a == 'a' && after >= utf8.RuneSelf {
			return 1 // Latin letters beyond ASCII seldom come in heaps
		}
		return 0.4
	}
	return 0
}

// script tells apart the scripts whose letters do not stand beside each other
// in a word; 0 is no letter.
func script(r rune) rune {
	switch {
	case !unicode.IsLetter(r):
		return 0
	case unicode.Is(unicode.Latin, r):
		return 'a'
	case unicode.Is(unicode.Cyrillic, r):
		return 'c'
	case unicode.Is(unicode.Greek, r):
		return 'g'
	case unicode.Is(unicode.Hebrew, r):
		return 'h'
	case unicode.Is(unicode.Arabic, r):
		return 'r'
	}
	return 'x'
}

// rare says that a Chinese character is not among those that its encoding has
// in the rows of the common ones.
func rare(enc encoding.Encoding, r rune) bool {
	b, err := enc.NewEncoder().Bytes([]byte(string(r)))
	if err != nil || len(b) != 2 {
		return true
	}
	switch enc {
	case gb.enc:
		return b[0] < 0xb0 || b[0] > 0xd7 || b[1] < 0xa1
	case big5.enc:
		return b[0] < 0xa4 || b[0] > 0xc6
	case eucJP.enc:
		return b[0] < 0xb0 || b[0] > 0xcf
	case shiftJIS.enc:
		return b[0] < 0x88 || b[0] > 0x98
	}
	return false
}

func japaneseEncoding(enc encoding.Encoding) bool { return enc == eucJP.enc || enc == shiftJIS.enc }
func isKorean(enc encoding.Encoding) bool         { return enc == eucKR.enc }
