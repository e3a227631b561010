//go:build !linux

package folder

import (
	"math"
	"os"
)

// room knows of no bound.
func room(*os.File) (free, total uint64, err error) {
	return math.MaxUint64, math.MaxUint64, nil
}
