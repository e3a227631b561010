// Package cluster starts, watches and ends a one-node Kubernetes cluster whose
// every component is a process of this machine.
package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/config"
	"github.com/sampan-dev/sampan/hack/devcluster/internal/image"
	"github.com/sampan-dev/sampan/hack/devcluster/internal/proc"
)

// Cluster is the cluster of one machine.
type Cluster struct {
	// State is the folder of everything that the cluster writes; Bin that of its
	// programs, which must have been built.
	State, Bin string
	// Progress receives a line for each step.
	Progress io.Writer
}

var group = proc.Cgroup{Name: config.Cgroup}

// readyTimeout is how long a cluster may take to become ready; on two busy cores
// it takes less than 15 seconds.
const readyTimeout = 2 * time.Minute

// Available fails where another cluster is in the way, which a look tells: so it is
// asked before the programs are built, which takes minutes.
func (c Cluster) Available(ctx context.Context) error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	last, err := readRecord(c.State)
	if err != nil {
		return err
	}
	if err := c.alone(linkOwner(), last, boot); err != nil {
		return err
	}
	members, err := group.Members()
	if err != nil {
		return err
	}
	if len(members) > 0 {
		return nil // what uses the ports is this cluster, or what is left of it
	}
	return portsFree(ctx, ports)
}

// alone fails where a cluster of another folder or checkout runs: a machine has one
// at a time. The node's link belongs to the folder owner, if there is one.
func (c Cluster) alone(owner string, last *record, boot string) error {
	if err := c.owns(owner); err != nil {
		return err
	}
	if foreign(last, c.Bin, boot, proc.Identity.Alive) {
		return fmt.Errorf("the cluster of another checkout, whose programs are in %s, runs on this machine, and there can be only one: remove it with hack/devcluster/run down", last.Bin)
	}
	return nil
}

// owns fails where the node's link belongs to a cluster in another folder.
func (c Cluster) owns(owner string) error {
	if owner == "" || owner == c.State {
		return nil
	}
	return fmt.Errorf("this machine has a cluster in %[1]s: end it with DEVCLUSTER_DIR=%[1]s hack/devcluster/run down", owner)
}

// Up makes the cluster run, whatever it finds: a running one is left alone, a
// component that died is started again, and the remains of a cluster that was
// killed, or one of programs that have changed, are cleared away before a new one
// is made. Only what another checkout runs is not touched, and an error.
func (c Cluster) Up(ctx context.Context) error {
	unlock, err := lock(ctx, c.State)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("the cluster was not ready within %s", readyTimeout))
	defer cancel()

	v := config.Values{Node: config.First, State: c.State, Bin: c.Bin, PodMTU: podMTU(ctx), Upstream: upstream("/etc/resolv.conf")}
	files, err := config.Render(v)
	if err != nil {
		return err
	}
	inputs, err := digest(v, files)
	if err != nil {
		return err
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	last, err := readRecord(c.State)
	if err != nil {
		return err
	}
	if err := c.alone(linkOwner(), last, boot); err != nil {
		return err
	}
	var names []string
	for _, component := range components(v) {
		names = append(names, component.name)
	}
	switch decide(last, inputs, boot, names, proc.Identity.Alive) {
	case planKeep:
		c.say("The cluster is up")
		return c.start(ctx, v, last)
	case planRepair:
		c.say("Some components have ended: starting them again")
		err := c.start(ctx, v, last)
		if err == nil || ctx.Err() != nil {
			return err
		}
		c.say("They did not start: %v", err)
	case planFresh:
	}
	return c.fresh(ctx, v, files, &record{Inputs: inputs, Bin: v.Bin, Boot: boot, Processes: map[string]proc.Identity{}})
}

// fresh clears away what is left of an earlier cluster and makes a new one.
func (c Cluster) fresh(ctx context.Context, v config.Values, files map[string][]byte, r *record) error {
	if err := c.clear(ctx); err != nil {
		return fmt.Errorf("clearing away the last cluster: %w", err)
	}
	// The record comes before everything that it describes, so that an
	// interrupted start can be cleared away too.
	r.Sysctls = readSysctls()
	if err := r.write(c.State); err != nil {
		return err
	}
	made, err := makeMountPoints()
	r.MountPoints = made
	if err := errors.Join(err, r.write(c.State)); err != nil {
		return err
	}
	if err := errors.Join(
		makeFolders(0o700, c.State, "config/cni", "config/"+config.Second.Folder, "cni/networks", "etcd"),
		makeFolders(passable, c.State, "", "volumes"),
		makeNodeFolders(v),
	); err != nil {
		return err
	}
	for path, content := range files {
		if err := os.WriteFile(filepath.Join(v.Config(), path), content, 0o644); err != nil {
			return fmt.Errorf("writing configuration: %w", err)
		}
	}
	if err := writeCredentials(v, time.Now()); err != nil {
		return err
	}
	if err := setUpNetwork(ctx, c.State); err != nil {
		return err
	}
	return c.start(ctx, v, r)
}

// start starts those components of the record that do not run, each as soon as
// what it cannot do without is ready, and waits for all.
func (c Cluster) start(ctx context.Context, v config.Values, r *record) error {
	procs, err := group.Create()
	if err != nil {
		return err
	}
	if !r.Anchor.Alive() {
		if r.Anchor, err = startAnchor(v, procs); err != nil {
			return err
		}
		if err := errors.Join(r.write(c.State), waitAnchor(ctx, v, r.Anchor)); err != nil {
			return err
		}
	}
	probe, err := newProbe(v)
	if err != nil {
		return err
	}
	for _, component := range components(v) {
		if err := c.ensure(v, component, r, r.Anchor, procs); err != nil {
			return err
		}
		if err := c.afterStart(ctx, v, component, r, probe); err != nil {
			return err
		}
	}
	for _, component := range components(v) {
		check := func(ctx context.Context) error { return probe.healthy(ctx, component.health) }
		if err := wait(ctx, v, component.name, r.Processes[component.name], check); err != nil {
			return err
		}
	}
	return c.awaitNode(ctx, v, r, probe)
}

// awaitNode waits until pods can be scheduled on the node of v.
func (c Cluster) awaitNode(ctx context.Context, v config.Values, r *record, probe *probe) error {
	name := kubelet(v).name
	return wait(ctx, v, name, r.Processes[name], func(ctx context.Context) error { return probe.nodeReady(ctx, v.Node) })
}

// ensure starts a component unless it runs.
func (c Cluster) ensure(v config.Values, component component, r *record, anchor proc.Identity, procs string) error {
	if r.Processes[component.name].Alive() {
		return nil
	}
	id, err := c.startComponent(v, component, anchor, procs)
	if err != nil {
		return err
	}
	r.Processes[component.name] = id
	return r.write(c.State)
}

// afterStart does what has to come between this component and the next ones.
func (c Cluster) afterStart(ctx context.Context, v config.Values, started component, r *record, probe *probe) error {
	check := func(ctx context.Context) error { return probe.healthy(ctx, started.health) }
	switch started.name {
	case "etcd":
		return wait(ctx, v, started.name, r.Processes[started.name], check)
	case "kube-apiserver":
		if err := c.loadPauseImage(ctx, v, r, probe); err != nil {
			return err
		}
		if err := wait(ctx, v, started.name, r.Processes[started.name], check); err != nil {
			return err
		}
		_, err := run(ctx, "", filepath.Join(v.Bin, "kubectl"), "--kubeconfig", v.Kubeconfig(),
			"apply", "--server-side", "--validate=false", "-f", filepath.Join(v.Config(), "bootstrap.yaml"))
		return err
	}
	return nil
}

// loadPauseImage gives containerd, while the API server starts, the image of
// which every pod needs a container.
func (c Cluster) loadPauseImage(ctx context.Context, v config.Values, r *record, probe *probe) error {
	check := func(ctx context.Context) error { return probe.healthy(ctx, "unix://"+v.ContainerdSocket()) }
	name := containerd(v).name
	if err := wait(ctx, v, name, r.Processes[name], check); err != nil {
		return err
	}
	return image.EnsurePause(ctx, c.store(v), filepath.Join(v.Bin, "pause"), config.PauseImage)
}

func (c Cluster) startComponent(v config.Values, component component, anchor proc.Identity, procs string) (proc.Identity, error) {
	c.say("Starting %s", component.name)
	enter := []string{fmt.Sprintf("--mount=/proc/%d/ns/mnt", anchor.PID), "--", filepath.Join(v.Bin, component.program)}
	return proc.Start(proc.Command{
		Path: "nsenter", Args: append(enter, component.args...), Env: environment(v, component.program), Dir: v.State,
		Log: filepath.Join(v.Logs(), component.name+".log"), CgroupProcs: procs,
	})
}

// Images are the stores of images of the cluster's nodes.
func (c Cluster) Images() []image.Store {
	v := config.Values{State: c.State, Bin: c.Bin}
	stores := []image.Store{c.store(v)}
	if second := c.store(v.On(config.Second)); second.Exists() {
		stores = append(stores, second)
	}
	return stores
}

// store is that of a node.
func (c Cluster) store(v config.Values) image.Store {
	return image.Store{Ctr: filepath.Join(c.Bin, "ctr"), Socket: v.ContainerdSocket()}
}

// Kubeconfig is the path of the file with which people reach the cluster.
func (c Cluster) Kubeconfig() string { return config.Values{State: c.State}.Kubeconfig() }

func (c Cluster) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Progress, format+"\n", args...)
}

// digest is a digest of all that a running cluster was made of: the programs by
// the stamps of their builds, their arguments and their configuration.
func digest(v config.Values, files map[string][]byte) (string, error) {
	sum := sha256.New()
	stamps, err := filepath.Glob(filepath.Join(v.Bin, ".stamps", "*"))
	if err != nil {
		return "", err
	}
	for _, stamp := range stamps {
		content, err := os.ReadFile(stamp)
		if err != nil {
			return "", fmt.Errorf("reading what was built: %w", err)
		}
		_, _ = fmt.Fprintf(sum, "%s %s\n", filepath.Base(stamp), content)
	}
	for _, component := range components(v) {
		_, _ = fmt.Fprintf(sum, "%s %q\n", component.name, component.args)
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		_, _ = fmt.Fprintf(sum, "%s %q\n", path, files[path])
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
