package engine

import (
	"bytes"
	"errors"
	"io"

	"github.com/sampan-dev/sampan/internal/textfile"
)

// blocks gives a file to its search in blocks of whole lines.
type blocks struct {
	g    *grepper
	src  io.Reader
	full string
	file *fileSearch
	// kept is how much of the buffer is the beginning of a line that goes on.
	kept     int
	begun    bool
	skipping bool // within a line that is longer than a block
	// cr says that carriage returns end the lines.
	cr bool
}

func (b *blocks) run() (binary bool, err error) {
	g := b.g
	for {
		if err := g.ctx.Err(); err != nil {
			return false, err
		}
		n, err := io.ReadFull(b.src, g.buf[b.kept:])
		data, last := g.buf[:b.kept+n], err != nil
		if last && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			g.notes.add("%s was not read to its end: %v", b.full, rootCause(err))
			return false, nil
		}
		if !b.begun {
			b.begun = true
			format, binary := detect(data, last)
			if isOutput(b.full) {
				format, binary = textfile.Format{}, false
			}
			if binary {
				return true, nil
			}
			g.res.Searched++
			if !format.IsUTF8() {
				// From the beginning, through a decoder.
				b.src = format.Reader(io.MultiReader(bytes.NewReader(bytes.Clone(data)), b.src))
				continue
			}
		}
		data = b.plain(data)
		if err := b.block(data, last); err != nil || last {
			return false, err
		}
	}
}

// plain takes off the byte order mark, and makes line feeds of the returns that end
// the lines of old files.
func (b *blocks) plain(data []byte) []byte {
	atStart := b.file.line == 1 && !b.skipping
	if atStart && b.kept == 0 {
		data = bytes.TrimPrefix(data, []byte(bom))
	}
	if b.cr = b.cr || atStart && bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') >= 0; b.cr {
		for i, c := range data {
			if c == '\r' {
				data[i] = '\n'
			}
		}
	}
	return data
}

// detect tells the format of a file from its first block.
func detect(data []byte, last bool) (textfile.Format, bool) {
	if !last {
		data, _ = wholeRunes(data, nil)
	}
	return textfile.Detect(data)
}

// block searches the whole lines of a block and keeps the rest for the next.
func (b *blocks) block(data []byte, last bool) error {
	if b.skipping {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			b.kept = 0
			return nil
		}
		data, b.skipping = data[i+1:], false
		b.file.line++
	}
	whole := data
	if !last {
		i := bytes.LastIndexByte(data, '\n')
		if i < 0 {
			b.file.tooLong()
			b.kept, b.skipping = 0, true
			return nil
		}
		whole = data[:i+1]
	}
	err := b.file.block(whole)
	b.kept = copy(b.g.buf, data[len(whole):])
	return err
}
