package textfile

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	xunicode "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

const (
	// sniffBytes is how much of a file is looked at to tell text from the rest, as in git.
	sniffBytes = 8000
	// sampleBytes of text that is not ASCII are enough to tell an encoding.
	sampleBytes = 16 << 10
)

var (
	utf16LE  = Format{name: "UTF-16LE", enc: xunicode.UTF16(xunicode.LittleEndian, xunicode.IgnoreBOM)}
	utf16BE  = Format{name: "UTF-16BE", enc: xunicode.UTF16(xunicode.BigEndian, xunicode.IgnoreBOM)}
	utf32LE  = Format{name: "UTF-32LE", enc: utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)}
	utf32BE  = Format{name: "UTF-32BE", enc: utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM)}
	latin1   = Format{name: "windows-1252", enc: charmap.Windows1252}
	shiftJIS = Format{name: "Shift_JIS", enc: japanese.ShiftJIS}
	eucJP    = Format{name: "EUC-JP", enc: japanese.EUCJP}
	gb       = Format{name: "GB18030", enc: simplifiedchinese.GB18030}
	big5     = Format{name: "Big5", enc: traditionalchinese.Big5}
	eucKR    = Format{name: "EUC-KR", enc: korean.EUCKR}
	jis      = Format{name: "ISO-2022-JP", enc: japanese.ISO2022JP, stateful: true}
)

// marks are the byte order marks, the longer ones first.
var marks = []struct {
	mark   string
	format Format
}{
	{"\xff\xfe\x00\x00", utf32LE}, {"\x00\x00\xfe\xff", utf32BE}, {"\xff\xfe", utf16LE}, {"\xfe\xff", utf16BE},
}

// legacy are the encodings by the names that the detector gives, where a
// standard of an alphabet is also a subset of a code page of Windows, as that.
var legacy = []struct {
	detected string
	format   Format
}{
	{"ISO-8859-1", latin1},
	{"windows-1252", latin1},
	{"ISO-8859-2", Format{name: "ISO-8859-2", enc: charmap.ISO8859_2}},
	{"windows-1250", Format{name: "windows-1250", enc: charmap.Windows1250}},
	{"ISO-8859-5", Format{name: "ISO-8859-5", enc: charmap.ISO8859_5}},
	{"windows-1251", Format{name: "windows-1251", enc: charmap.Windows1251}},
	{"KOI8-R", Format{name: "KOI8-R", enc: charmap.KOI8R}},
	{"ISO-8859-6", Format{name: "ISO-8859-6", enc: charmap.ISO8859_6}},
	{"windows-1256", Format{name: "windows-1256", enc: charmap.Windows1256}},
	{"ISO-8859-7", Format{name: "ISO-8859-7", enc: charmap.ISO8859_7}},
	{"windows-1253", Format{name: "windows-1253", enc: charmap.Windows1253}},
	{"ISO-8859-8", Format{name: "windows-1255", enc: charmap.Windows1255}},
	{"windows-1255", Format{name: "windows-1255", enc: charmap.Windows1255}},
	{"ISO-8859-9", Format{name: "windows-1254", enc: charmap.Windows1254}},
	{"windows-1254", Format{name: "windows-1254", enc: charmap.Windows1254}},
	{"Shift_JIS", shiftJIS},
	{"EUC-JP", eucJP},
	{"GB-18030", gb},
	{"Big5", big5},
	{"EUC-KR", eucKR},
}

// Detect tells the format of a file from its content, or from a long beginning
// of it. Without a byte order mark, what is not UTF-8 is a guess; it never
// costs a byte, because any byte that stays has its place in the result.
// binary files have no format.
func Detect(data []byte) (f Format, binary bool) {
	for _, m := range marks {
		if bytes.HasPrefix(data, []byte(m.mark)) && decodes(m.format, data) {
			return m.format, false
		}
	}
	if bytes.IndexByte(data[:min(len(data), sniffBytes)], 0) >= 0 {
		return wide(data)
	}
	if utf8.Valid(data) {
		if bytes.IndexByte(data, 0x1b) >= 0 && (bytes.Contains(data, []byte("\x1b$B")) || bytes.Contains(data, []byte("\x1b$@"))) && roundTrips(jis, data) {
			return jis, false
		}
		return Format{}, false
	}
	if mostlyUTF8(data) {
		return Format{}, false
	}
	return guess(sample(data, sampleBytes)), false
}

// decodes says that each byte of data means a character.
func decodes(f Format, data []byte) bool {
	return !bytes.Contains([]byte(f.Decode(data)), []byte("\uFFFD"))
}

func roundTrips(f Format, data []byte) bool {
	out, err := f.encode(f.Decode(data))
	return err == nil && bytes.Equal(out, data)
}

// wide tells UTF-16 and UTF-32 without a byte order mark from binary files: read
// the wrong way they hold what no text does.
func wide(data []byte) (f Format, binary bool) {
	for _, f := range []Format{utf16LE, utf16BE, utf32LE, utf32BE} {
		size := 2
		if f.name == utf32LE.name || f.name == utf32BE.name {
			size = 4
		}
		head := data[:min(len(data), sniffBytes)]
		if len(data)%size != 0 && len(data) == len(head) || len(head) < 2*size {
			continue
		}
		if looksLikeText(f.Decode(head[:len(head)/size*size])) {
			return f, false
		}
	}
	return Format{}, true
}

// looksLikeText says that all of s are assigned characters, and most of them
// ASCII or at least its line ends.
func looksLikeText(s string) bool {
	n, ascii := 0, 0
	for _, r := range s {
		switch {
		case r == '\uFFFD', r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f' && r != 0x1b,
			r >= 0x7f && r < 0xa0, !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Cc, unicode.Cf):
			return false
		case r < 0x80:
			ascii++
		}
		n++
	}
	return ascii*10 >= n*7 || strings.Contains(s, "\n") && ascii*100 >= n
}

// mostlyUTF8 says that of the runs of bytes beyond ASCII at least half are
// UTF-8: then the others are strays.
func mostlyUTF8(data []byte) bool {
	valid, invalid := 0, 0
	for i := 0; i < len(data); {
		if data[i] < utf8.RuneSelf {
			i++
			continue
		}
		from := i
		for i < len(data) && data[i] >= utf8.RuneSelf {
			i++
		}
		if utf8.Valid(data[from:i]) {
			valid++
		} else {
			invalid++
		}
	}
	return valid > 0 && valid >= invalid
}
