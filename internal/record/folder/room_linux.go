package folder

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// room gives the bytes that may still be written to the file system of a folder, and all
// that it has.
func room(dir *os.File) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return 0, 0, err
	}
	if st.Bsize <= 0 {
		return math.MaxUint64, math.MaxUint64, nil
	}
	size := uint64(st.Bsize)
	return st.Bavail * size, st.Blocks * size, nil
}
