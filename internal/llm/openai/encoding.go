package openai

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

const (
	// maxEncodings is how often a reply may be compressed over.
	maxEncodings = 3
	// maxZstdWindow is what RFC 9659 allows on the web.
	maxZstdWindow = 8 << 20
)

// unpack gives the text of a body that proxies compressed, though nobody asked
// for it, or wrote as UTF-16. The bytes say what it is where they can: headers
// stay behind when a proxy unpacks, and are missing when one packs.
func unpack(header http.Header, body *bufio.Reader) (*bufio.Reader, func(), error) {
	named := strings.FieldsFunc(strings.ToLower(strings.Join(header.Values("Content-Encoding"), ",")), func(r rune) bool { return r == ',' || r == ' ' })
	release := func() {}
	for range maxEncodings {
		name := encodingOf(body)
		if n := len(named); n > 0 {
			if name == "" && !looksPlain(body) {
				name = named[n-1]
			}
			named = named[:n-1]
		}
		if name == "" || name == "identity" {
			break
		}
		r, closing, err := decompress(name, body)
		if err != nil {
			release()
			return nil, nil, &encodingError{name, err}
		}
		before := release
		release = func() { closing(); before() }
		body = bufio.NewReaderSize(&unpacked{r: r, name: name}, 16<<10)
	}
	if order, ok := utf16Order(header, body); ok {
		body = bufio.NewReaderSize(unicode.UTF16(order, unicode.UseBOM).NewDecoder().Reader(body), 16<<10)
	}
	return body, release, nil
}

// encodingError is compressed data that cannot be read.
type encodingError struct {
	name string
	err  error
}

func (e *encodingError) Error() string {
	return fmt.Sprintf("the server compressed its answer with %s, unasked, and it cannot be read: %v", e.name, e.err)
}

func (e *encodingError) Unwrap() error { return e.err }

// unpacked bounds what comes out of a few compressed bytes.
type unpacked struct {
	r     io.Reader
	name  string
	total int
}

func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if u.total += n; u.total > maxUnpackedBytes {
		return 0, moreThan(maxUnpackedBytes, "in it when unpacked")
	}
	if err != nil && err != io.EOF {
		err = &encodingError{u.name, err}
	}
	return n, err
}

// encodingOf tells by the first bytes; empty when they say nothing.
func encodingOf(body *bufio.Reader) string {
	first, err := body.Peek(1)
	switch {
	case err != nil:
		return ""
	case first[0] == 0x1f:
		if b, err := body.Peek(2); err == nil && b[1] == 0x8b {
			return "gzip"
		}
	case first[0] == 0x78: // no reply begins with an x
		if b, err := body.Peek(2); err == nil && isZlib(b) {
			return "deflate"
		}
	case first[0] == 0x28:
		if b, err := body.Peek(4); err == nil && bytes.Equal(b, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
			return "zstd"
		}
	}
	return ""
}

// looksPlain says that what has come is text.
func looksPlain(body *bufio.Reader) bool {
	start, _ := body.Peek(min(body.Buffered(), 16))
	return len(start) > 0 && !slices.ContainsFunc(start, func(b byte) bool {
		return b > '~' || b < ' ' && b != '\n' && b != '\r' && b != '\t'
	})
}

func decompress(name string, r *bufio.Reader) (io.Reader, func(), error) {
	nothing := func() {}
	switch name {
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(r)
		return z, nothing, err
	case "deflate":
		// The name stands for zlib, and servers send it without its header, too.
		if b, err := r.Peek(2); err == nil && isZlib(b) {
			z, err := zlib.NewReader(r)
			return z, nothing, err
		}
		return flate.NewReader(r), nothing, nil
	case "br":
		return brotli.NewReader(r), nothing, nil
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, nothing, err
		}
		return z, z.Close, nil
	}
	return nil, nothing, fmt.Errorf("the encoding is not known")
}

// isZlib says that two bytes are the header of zlib.
func isZlib(b []byte) bool { return b[0]&0x0f == 8 && (int(b[0])<<8|int(b[1]))%31 == 0 }

// charset is what Content-Type says of the text; empty for UTF-8.
func charset(header http.Header) string {
	_, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	switch name := strings.ToLower(strings.TrimSpace(params["charset"])); name {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return ""
	default:
		return name
	}
}

// utf16Order says that a text is UTF-16, and of which order.
func utf16Order(header http.Header, body *bufio.Reader) (unicode.Endianness, bool) {
	first, err := body.Peek(1)
	if err != nil || first[0] != 0 && first[0] < 0xfe && !strings.HasPrefix(charset(header), "utf-16") {
		return unicode.LittleEndian, false
	}
	b, err := body.Peek(2)
	switch {
	case err != nil:
	case b[0] == 0xff && b[1] == 0xfe, b[0] != 0 && b[1] == 0:
		return unicode.LittleEndian, true
	case b[0] == 0xfe && b[1] == 0xff, b[0] == 0 && b[1] != 0:
		return unicode.BigEndian, true
	}
	return unicode.LittleEndian, false
}

// toUTF8 decodes text that is in the charset that the answer names; nil where that
// is UTF-8 or not known. It is for text that is not valid UTF-8 only: many a server
// names a charset that it does not use.
func toUTF8(header http.Header) func([]byte) []byte {
	name := charset(header)
	if name == "" {
		return nil
	}
	enc, err := htmlindex.Get(name)
	if err != nil {
		return nil
	}
	return func(text []byte) []byte {
		out, err := enc.NewDecoder().Bytes(text)
		if err != nil {
			return text
		}
		return out
	}
}
