package sandbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// UserNamespaceMode says which pods run in a user namespace of their own.
type UserNamespaceMode string

// The modes.
const (
	UserNamespacesOff UserNamespaceMode = "off"
	UserNamespacesOn  UserNamespaceMode = "on"
	// UserNamespacesAuto is on while every node says that it can.
	UserNamespacesAuto UserNamespaceMode = "auto"
)

const (
	// nodesInterval is how long what the nodes said holds.
	nodesInterval = 5 * time.Minute
	// nodesPage bounds what is read of them at once.
	nodesPage = 100
)

// idmappedKernel is the first whose tmpfs, on which tokens and Secrets are mounted,
// can be shown to another user namespace.
var idmappedKernel = version.MustParseGeneric("6.3")

// UserNamespaces decides it. A pod that asks for a user namespace where its node
// cannot give one never starts. A node reports what its runtime knows and which
// kernel it has, which is enough where kubelet's folder is on a local disk; of the
// file system behind a claim (NFS cannot) nothing is known, so pods with one are
// left out by Auto.
type UserNamespaces struct {
	Mode UserNamespaceMode
	// Nodes are read past the cache, page by page.
	Nodes client.Reader
	Clock clock.PassiveClock

	mu      sync.Mutex
	checked time.Time
	able    bool
}

// For reports whether the pod of a runtime class, empty for the default, gets one;
// claims says that it mounts a PersistentVolumeClaim.
func (u *UserNamespaces) For(ctx context.Context, runtimeClass string, claims bool) (bool, error) {
	switch {
	case u == nil || u.Mode == UserNamespacesOff:
		return false, nil
	case u.Mode == UserNamespacesOn:
		return true, nil
	case claims, runtimeClass != "": // nothing is known of its handler, and it is a wall of its own
		return false, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.checked.IsZero() && u.Clock.Since(u.checked) < nodesInterval {
		return u.able, nil
	}
	able, err := u.everyNode(ctx)
	if err != nil {
		return false, err
	}
	u.checked, u.able = u.Clock.Now(), able
	return able, nil
}

// everyNode reports whether there are nodes, and each of them can.
func (u *UserNamespaces) everyNode(ctx context.Context) (bool, error) {
	var page corev1.NodeList
	for found := false; ; {
		if err := u.Nodes.List(ctx, &page, client.Limit(nodesPage), client.Continue(page.Continue)); err != nil {
			return false, fmt.Errorf("listing Nodes: %w", err)
		}
		for i := range page.Items {
			if !able(&page.Items[i]) {
				return false, nil
			}
			found = true
		}
		if page.Continue == "" {
			return found, nil
		}
	}
}

func able(node *corev1.Node) bool {
	kernel, err := version.ParseGeneric(node.Status.NodeInfo.KernelVersion)
	if err != nil || kernel.LessThan(idmappedKernel) {
		return false
	}
	for _, h := range node.Status.RuntimeHandlers {
		if h.Name == "" {
			return h.Features != nil && h.Features.UserNamespaces != nil && *h.Features.UserNamespaces
		}
	}
	return false
}
