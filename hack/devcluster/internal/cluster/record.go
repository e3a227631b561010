package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/proc"
)

// record is what a cluster remembers about itself, in state.json of its folder.
// The file also marks the folder as one that may be removed.
type record struct {
	// Inputs is a digest of the programs and configuration that were started.
	Inputs string `json:"inputs"`
	// Bin is the folder of the programs, in the checkout that made the cluster.
	Bin string `json:"bin"`
	// Boot identifies the run of the machine; after a restart nothing that was
	// recorded runs, and etcd's files may be half written.
	Boot string `json:"boot"`
	// Anchor holds the mount namespace; Processes are the components by name.
	Anchor proc.Identity `json:"anchor"`
	// Second is the same of the second node.
	Second    proc.Identity            `json:"second"`
	Processes map[string]proc.Identity `json:"processes"`
	// Sysctls are kernel settings as they were before the kubelet changed them.
	Sysctls map[string]string `json:"sysctls"`
	// MountPoints are empty folders that were made outside of the cluster's own.
	MountPoints []string `json:"mountPoints"`
}

func recordFile(state string) string { return filepath.Join(state, "state.json") }

// readRecord returns nil where there is no record, or one that was only half
// written.
func readRecord(state string) (*record, error) {
	content, err := os.ReadFile(recordFile(state))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's record: %w", err)
	}
	var r record
	if err := json.Unmarshal(content, &r); err != nil {
		return nil, nil //nolint:nilerr // as good as none: everything is found by other means too
	}
	return &r, nil
}

func (r *record) write(state string) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the cluster's record: %w", err)
	}
	temporary := recordFile(state) + ".new"
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return fmt.Errorf("writing the cluster's record: %w", err)
	}
	return os.Rename(temporary, recordFile(state))
}

// bootID is the kernel's name for the time since the machine started.
func bootID() (string, error) {
	content, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the machine's boot: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

// foreign reports whether a cluster that runs was made by another checkout, whose
// user may be at work in it.
func foreign(r *record, bin, boot string, alive func(proc.Identity) bool) bool {
	return r != nil && r.Bin != "" && r.Bin != bin && r.Boot == boot && alive(r.Anchor)
}

// plan says what up does about what it finds.
type plan int

const (
	// planFresh clears whatever is left and makes a new cluster.
	planFresh plan = iota
	// planRepair starts components that ended, over the data that they left.
	planRepair
	// planKeep starts nothing.
	planKeep
)

// decide chooses a plan from the record of the last cluster. Only a component
// that died alone is started again over its data. Without the anchor the mounts
// of the pods are gone, and after a restart of the machine so is everything else.
func decide(r *record, inputs, boot string, names []string, alive func(proc.Identity) bool) plan {
	if r == nil || r.Inputs != inputs || r.Boot != boot || !alive(r.Anchor) {
		return planFresh
	}
	running := 0
	for _, name := range names {
		if alive(r.Processes[name]) {
			running++
		}
	}
	switch running {
	case len(names):
		return planKeep
	case 0:
		return planFresh
	default:
		return planRepair
	}
}
