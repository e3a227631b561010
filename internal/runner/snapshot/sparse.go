package snapshot

import (
	"bytes"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/runner/nofollow"
)

// blockSize is what file systems keep of a file at once: a block of zeros need not be
// kept.
const blockSize = 4096

var zeros [blockSize]byte

// writeSparse writes data at an offset of a file that has nothing there yet, and leaves
// blocks of zeros out. Where the last is one, the file has to be made as long as it
// should be.
func writeSparse(fd int, at int64, data []byte) error {
	for len(data) > 0 {
		hole := upTo(at, data, func(zero bool) bool { return !zero })
		at, data = at+int64(hole), data[hole:]
		full := upTo(at, data, func(zero bool) bool { return zero })
		if err := writeAt(fd, at, data[:full]); err != nil {
			return err
		}
		at, data = at+int64(full), data[full:]
	}
	return nil
}

// upTo gives how many bytes there are up to the first block that ends the run.
func upTo(at int64, data []byte, ends func(zero bool) bool) int {
	n := 0
	for n < len(data) {
		block := data[n:min(n+blockSize-int((at+int64(n))%blockSize), len(data))]
		if ends(bytes.Equal(block, zeros[:len(block)])) {
			break
		}
		n += len(block)
	}
	return n
}

func writeAt(fd int, at int64, data []byte) error {
	for len(data) > 0 {
		n, err := nofollow.Retry(func() (int, error) { return unix.Pwrite(fd, data, at) })
		if err != nil {
			return err
		}
		at, data = at+int64(n), data[n:]
	}
	return nil
}

// truncate makes a file as long as it should be.
func truncate(fd int, size int64) error {
	_, err := nofollow.Retry(func() (int, error) { return 0, unix.Ftruncate(fd, size) })
	return err
}
