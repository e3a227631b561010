// Package operator installs Sampan on an API server as `make deploy` does, save its
// Deployment, and runs the real manager in a process of its own instead.
package operator

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/sampan-dev/sampan/internal/testing/cluster"
)

// Namespace is where the manager is.
const Namespace = "sampan-system"

// Install makes the operator's namespace, and its rights and those of the runners.
func Install(ctx context.Context, api *cluster.Cluster) error {
	for _, file := range []string{"manager/namespace", "rbac/service_account", "rbac/role", "rbac/role_binding", "rbac/runner_role"} {
		if err := api.Apply(ctx, "config/"+file+".yaml"); err != nil {
			return err
		}
	}
	return nil
}

// InstallPolicies makes the admission policies. They take a moment to hold.
func InstallPolicies(ctx context.Context, api *cluster.Cluster) error {
	files, err := filepath.Glob(filepath.Join(cluster.Root(), "config", "admission", "*.yaml"))
	if err != nil {
		return err
	}
	for _, path := range files {
		if filepath.Base(path) == "kustomization.yaml" {
			continue
		}
		if err := api.Apply(ctx, strings.TrimPrefix(path, cluster.Root())); err != nil {
			return err
		}
	}
	return nil
}
