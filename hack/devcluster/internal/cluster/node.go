package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/config"
	"github.com/sampan-dev/sampan/hack/devcluster/internal/proc"
)

// passable is the mode of folders through which a container in a user namespace
// passes, as what it is not: root.
const passable = 0o711

// makeFolders creates folders below dir, with this mode whatever the umask is.
func makeFolders(mode os.FileMode, dir string, names ...string) error {
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(path, mode), os.Chmod(path, mode)); err != nil {
			return fmt.Errorf("creating the cluster's folders: %w", err)
		}
	}
	return nil
}

// makeNodeFolders creates those of the node of v.
func makeNodeFolders(v config.Values) error {
	return errors.Join(
		makeFolders(passable, v.NodeFolder(), "", "containerd", "run", "run/containerd", "kubelet"),
		makeFolders(0o700, v.NodeFolder(), "cni", "logs/pods", "logs/containers"),
	)
}

// AddNode starts the cluster's second node, and waits until it is ready; one that runs
// is left alone. It is a node in all but its machine: with a containerd, a kubelet and
// folders of its own, and no pods but those that tolerate its taint.
func (c Cluster) AddNode(ctx context.Context) error {
	unlock, err := lock(ctx, c.State)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("the second node was not ready within %s", readyTimeout))
	defer cancel()
	r, err := readRecord(c.State)
	if err != nil {
		return err
	}
	if r == nil || !r.Anchor.Alive() {
		return fmt.Errorf("%w: there is no node yet to be the second of", ErrNotReady)
	}
	v := config.Values{State: c.State, Bin: c.Bin, Node: config.Second}
	if err := makeNodeFolders(v); err != nil {
		return err
	}
	return c.startNode(ctx, v, r)
}

func (c Cluster) startNode(ctx context.Context, v config.Values, r *record) error {
	procs, err := group.Create()
	if err != nil {
		return err
	}
	if _, err := (proc.Cgroup{Name: v.Node.Cgroup, Root: group.Root}).Create(); err != nil {
		return err
	}
	if !r.Second.Alive() {
		if r.Second, err = startAnchor(v, procs); err != nil {
			return err
		}
		if err := errors.Join(r.write(c.State), waitAnchor(ctx, v, r.Second)); err != nil {
			return err
		}
	}
	probe, err := newProbe(v)
	if err != nil {
		return err
	}
	if err := c.ensure(v, containerd(v), r, r.Second, procs); err != nil {
		return err
	}
	if err := c.loadPauseImage(ctx, v, r, probe); err != nil {
		return err
	}
	if err := c.ensure(v, kubelet(v), r, r.Second, procs); err != nil {
		return err
	}
	return c.awaitNode(ctx, v, r, probe)
}
