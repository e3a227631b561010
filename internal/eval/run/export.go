package run

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sampan-dev/sampan/internal/eval/trajectory"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// export writes the transcript of the trial as a trajectory.
func (a *attempt) export() error {
	f, err := os.Open(filepath.Join(a.dir, transcriptFile))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	events, _, err := transcript.ReadAll(f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	t, err := trajectory.Of(events)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.dir, trajectoryFile), data, 0o600)
}
