package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/config"
)

// ErrNotReady says that the cluster is not, or not completely, up.
var ErrNotReady = errors.New("the cluster is not ready")

// ComponentStatus is the state of one component.
type ComponentStatus struct {
	Name string
	// PID is zero where the component does not run.
	PID int
	// Problem is empty where the component says that it is well.
	Problem string
	// Log is the file that tells more.
	Log string
}

// Status asks every component how it is. The error is ErrNotReady where one is
// not well.
func (c Cluster) Status(ctx context.Context) ([]ComponentStatus, error) {
	last, err := readRecord(c.State)
	if err != nil {
		return nil, err
	}
	if last == nil {
		return nil, fmt.Errorf("%w: there is none in %s", ErrNotReady, c.State)
	}
	v := config.Values{State: c.State, Bin: c.Bin, Node: config.First}
	probe, err := newProbe(v)
	if err != nil {
		return nil, err
	}
	var all []ComponentStatus
	result := error(nil)
	expected := components(v)
	if last.Second.PID != 0 {
		expected = append(expected, nodeComponents(v.On(config.Second))...)
	}
	for _, component := range expected {
		status := ComponentStatus{Name: component.name, Log: filepath.Join(v.Logs(), component.name+".log")}
		if id := last.Processes[component.name]; !id.Alive() {
			status.Problem = "does not run"
		} else {
			status.PID = id.PID
			if err := probe.healthy(ctx, component.health); err != nil {
				status.Problem = err.Error()
			}
		}
		if status.Problem != "" {
			result = ErrNotReady
		}
		all = append(all, status)
	}
	if result == nil {
		if err := probe.nodeReady(ctx, config.First); err != nil {
			result = fmt.Errorf("%w: %w", ErrNotReady, err)
		}
	}
	return all, result
}
