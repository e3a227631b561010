package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Render gives what `kubectl kustomize` makes of an overlay over config/default: a
// kustomization without its resources, such as "namespace: agents".
func Render(ctx context.Context, overlay string) (objects []*unstructured.Unstructured, err error) {
	dir, err := os.MkdirTemp("", "sampan-overlay-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// A copy, since go test runs again what has read a file that changed, and does not
	// see what a command reads.
	if err := os.CopyFS(filepath.Join(dir, "config"), os.DirFS(filepath.Join(Root(), "config"))); err != nil {
		return nil, err
	}
	document := "resources: [config/default]\n" + overlay + "\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(document), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, Kubectl(), "kustomize", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("rendering config/default: %w: %s", err, stderr.Bytes())
	}
	return Decode(bytes.NewReader(out))
}

// Kubectl is the one beside the API server's binaries, where there is one.
func Kubectl() string {
	path := filepath.Join(assets(), "kubectl")
	if _, err := os.Stat(path); err != nil {
		return "kubectl"
	}
	return path
}

// RBAC are the kinds that say who the operator is and what it may do.
var RBAC = []string{"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}

// Install applies an overlay's objects of some kinds, as `kubectl apply --server-side`
// does. The CRDs are there already.
func (c *Cluster) Install(ctx context.Context, overlay string, kinds ...string) error {
	objects, err := Render(ctx, overlay)
	if err != nil {
		return err
	}
	for _, obj := range objects {
		if !slices.Contains(kinds, obj.GetKind()) {
			continue
		}
		if err := c.Apply(ctx, obj); err != nil {
			return err
		}
	}
	return nil
}

// Apply applies an object as `kubectl apply --server-side` does.
func (c *Cluster) Apply(ctx context.Context, obj *unstructured.Unstructured) error {
	if err := c.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(obj), client.FieldOwner("kubectl"), client.ForceOwnership); err != nil {
		return fmt.Errorf("applying %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	return nil
}
