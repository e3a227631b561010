// Package operator installs Sampan on an API server as `make deploy` does, save its
// Deployment, and runs the real manager in a process of its own instead.
package operator

import (
	"context"

	"github.com/sampan-dev/sampan/internal/testing/cluster"
)

// Namespace is where the manager is.
const Namespace = "sampan-system"

// Install makes the operator's namespace, and its rights and those of the runners.
func Install(ctx context.Context, api *cluster.Cluster) error {
	return api.Install(ctx, "", cluster.RBAC...)
}

// InstallPolicies makes the admission policies. They take a moment to hold.
func InstallPolicies(ctx context.Context, api *cluster.Cluster) error {
	return api.Install(ctx, "", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
}
