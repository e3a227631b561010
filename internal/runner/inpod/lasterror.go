package inpod

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/text"
)

// LeaveError leaves the error with which a runner ends as its container's termination
// message, for the operator to show, unless a result is there.
func LeaveError(err error) error { return leaveError(terminationLog, err) }

func leaveError(path string, why error) error {
	if info, err := os.Stat(path); err != nil || info.Size() > 0 {
		return err
	}
	data, err := json.Marshal(podapi.TerminationMessage{Error: text.Clip(text.OneLine(why.Error()), podapi.MaxTerminationErrorBytes)})
	if err != nil {
		return fmt.Errorf("encoding the termination message: %w", err)
	}
	return os.WriteFile(path, data, 0o644)
}
