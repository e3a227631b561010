package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// downTimeout is how long it may take until the last process and mount are gone.
const downTimeout = time.Minute

// Down ends the cluster and removes everything but the built programs.
func (c Cluster) Down(ctx context.Context) error {
	if err := c.owns(linkOwner()); err != nil {
		return err
	}
	// A cluster whose folder somebody removed still has processes to end.
	members, err := group.Members()
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.State); errors.Is(err, fs.ErrNotExist) && len(members) == 0 {
		c.say("There is no cluster in %s", c.State)
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, downTimeout, fmt.Errorf("the cluster did not end within %s", downTimeout))
	defer cancel()
	unlock, err := lock(ctx, c.State)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.clear(ctx); err != nil {
		return err
	}
	if err := os.Remove(c.State); err != nil {
		return fmt.Errorf("removing the cluster's folder: %w", err)
	}
	c.say("The cluster is gone")
	return nil
}

// clear ends every process of the last cluster and removes what it left in the
// kernel and in the cluster's folder. It works from what it finds more than from
// the record, so it can be repeated, and can follow a crash.
func (c Cluster) clear(ctx context.Context) error {
	if err := ownsFolder(c.State); err != nil {
		return err
	}
	last, err := readRecord(c.State)
	if err != nil {
		return err
	}
	if err := group.Kill(ctx); err != nil {
		return err
	}
	if err := unmountBelow(c.State); err != nil {
		return err
	}
	if err := tearDownNetwork(ctx); err != nil {
		return err
	}
	if last != nil {
		if err := restoreSysctls(last.Sysctls); err != nil {
			return err
		}
		for _, point := range slices.Backward(last.MountPoints) {
			_ = os.Remove(point) // only where it is empty: it may be in use by others now
		}
	}
	return empty(c.State)
}

// ownsFolder refuses a folder with something in it that no cluster has put
// there: everything in it is going to be removed.
func ownsFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("reading the cluster's folder: %w", err)
	}
	if len(entries) == 0 {
		return nil
	}
	for _, marker := range []string{recordFile(folder), recordFile(folder) + ".new"} {
		if _, err := os.Stat(marker); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s is not empty and was not made by devcluster: choose another folder for the cluster", folder)
}

// empty removes everything in a folder, the record last.
func empty(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("reading the cluster's folder: %w", err)
	}
	for _, entry := range entries {
		if path := filepath.Join(folder, entry.Name()); path != recordFile(folder) {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("emptying the cluster's folder: %w", err)
			}
		}
	}
	if err := os.Remove(recordFile(folder)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("emptying the cluster's folder: %w", err)
	}
	return nil
}
