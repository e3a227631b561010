package engine

import (
	"bytes"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// maxAttributes bounds what is read of one extended attribute, or of the list
// of all: the kernel's own limit for both.
const maxAttributes = 64 << 10

// userFlags are the inode flags that a user can set (chattr), of FS_IOC_GETFLAGS.
const userFlags = 0x000380ff

// sameAttributes says that two files have the same extended attributes, which
// hold ACLs, too, and the same flags. What cannot be read differs.
func sameAttributes(a, b *os.File) bool {
	listA, errA := attributeNames(a)
	listB, errB := attributeNames(b)
	if errA != nil || errB != nil || !slices.Equal(listA, listB) {
		return false
	}
	bufA, bufB := make([]byte, maxAttributes), make([]byte, maxAttributes)
	for _, name := range listA {
		n, errA := unix.Fgetxattr(int(a.Fd()), name, bufA)
		m, errB := unix.Fgetxattr(int(b.Fd()), name, bufB)
		if errA != nil || errB != nil || !bytes.Equal(bufA[:n], bufB[:m]) {
			return false
		}
	}
	return inodeFlags(a) == inodeFlags(b)
}

func attributeNames(f *os.File) ([]string, error) {
	size, err := unix.Flistxattr(int(f.Fd()), nil)
	if errors.Is(err, unix.ENOTSUP) || err == nil && size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	buf := make([]byte, maxAttributes)
	if size, err = unix.Flistxattr(int(f.Fd()), buf); err != nil {
		return nil, err
	}
	var names []string
	for name := range bytes.SplitSeq(bytes.TrimSuffix(buf[:size], []byte{0}), []byte{0}) {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names, nil
}

// inodeFlags are 0 where the file system has none.
func inodeFlags(f *os.File) uint32 {
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return 0
	}
	return flags & userFlags
}

// reserve takes the space that a file of this size needs, without changing what it holds.
func reserve(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
}
