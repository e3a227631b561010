package gitignore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// Index is the list of the files that git tracks, which it does not ignore
// whatever a pattern says.
type Index struct{ paths []string }

var errIndex = errors.New("not an index of git that can be read")

// Sizes in an index: gitformat-index(5).
const (
	indexHeader = 12
	// fixedEntry is an entry up to its flags, with a SHA-1.
	fixedEntry   = 62
	extendedFlag = 0x4000
)

// ParseIndex reads a file .git/index of the versions 2 to 4.
func ParseIndex(data []byte) (*Index, error) {
	if len(data) < indexHeader || !bytes.HasPrefix(data, []byte("DIRC")) {
		return nil, errIndex
	}
	version, count := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	if version < 2 || version > 4 || int64(count)*fixedEntry > int64(len(data)) {
		return nil, errIndex
	}
	x := &Index{paths: make([]string, 0, count)}
	data = data[indexHeader:]
	last := ""
	for range count {
		name, size, err := entry(data, version, last)
		if err != nil {
			return nil, err
		}
		x.paths = append(x.paths, name)
		data, last = data[size:], name
	}
	if !slices.IsSorted(x.paths) { // as git writes it
		return nil, errIndex
	}
	return x, nil
}

// entry reads the first entry of data, after one with the name last.
func entry(data []byte, version uint32, last string) (name string, size int, err error) {
	if len(data) < fixedEntry {
		return "", 0, errIndex
	}
	at := fixedEntry
	if binary.BigEndian.Uint16(data[fixedEntry-2:])&extendedFlag != 0 {
		at += 2
	}
	prefix := ""
	if version == 4 {
		drop, n := offset(data[min(at, len(data)):])
		if n == 0 || drop > len(last) {
			return "", 0, errIndex
		}
		prefix, at = last[:len(last)-drop], at+n
	}
	end := bytes.IndexByte(data[min(at, len(data)):], 0)
	if end < 0 {
		return "", 0, errIndex
	}
	name, size = prefix+string(data[at:at+end]), at+end+1
	if version < 4 { // filled up with NUL to a multiple of eight
		if size = (at + end + 8) &^ 7; size > len(data) {
			return "", 0, errIndex
		}
	}
	return name, size, nil
}

// offset reads a number as in a pack; n is its length, 0 if there is none.
func offset(data []byte) (value, n int) {
	for i, b := range data[:min(len(data), 4)] {
		if value = value<<7 | int(b&0x7f); b&0x80 == 0 {
			return value, i + 1
		}
		value++
	}
	return 0, 0
}

// Tracks says that a path, or something below it, is tracked.
func (x *Index) Tracks(rel string, isDir bool) bool {
	if x == nil {
		return false
	}
	if !isDir {
		_, found := slices.BinarySearch(x.paths, rel)
		return found
	}
	i, _ := slices.BinarySearch(x.paths, rel+"/")
	return i < len(x.paths) && strings.HasPrefix(x.paths[i], rel+"/")
}
