package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// fromPod takes what no flag sets from the manager's own pod. Its init container has
// the runner's image, so that this is an image like any other to kustomize, mirrors and
// scanners; and its ServiceAccount has the prefix and suffix that the runner's
// ClusterRole has, too.
func (o *options) fromPod(ctx context.Context, r client.Reader) error {
	if o.podName == "" || o.sandbox.RunnerImage != "" && o.sandbox.RunnerRole != "" {
		return nil
	}
	var pod corev1.Pod
	if err := r.Get(ctx, types.NamespacedName{Namespace: o.operatorNamespace, Name: o.podName}, &pod); err != nil {
		return fmt.Errorf("reading the manager's own Pod %s, which POD_NAME names: %w", o.podName, err)
	}
	for _, c := range pod.Spec.InitContainers {
		if c.Name == podapi.RunnerContainer {
			o.sandbox.RunnerImage = cmp.Or(o.sandbox.RunnerImage, c.Image)
		}
	}
	if o.sandbox.RunnerImage == "" {
		return fmt.Errorf("Pod %s has no init container %s with the runner's image: add it, or set --runner-image", pod.Name, podapi.RunnerContainer) //nolint:staticcheck // a kind begins with a capital
	}
	o.sandbox.RunnerRole = cmp.Or(o.sandbox.RunnerRole, runnerRole(pod.Spec.ServiceAccountName))
	return nil
}

// runnerRole names the runner's ClusterRole beside the manager's ServiceAccount:
// sampan-runner beside sampan-controller-manager, x-sampan-runner-y beside
// x-sampan-controller-manager-y. It is empty where the account is named otherwise.
func runnerRole(account string) string {
	before, after, found := strings.Cut(account, managerAccount)
	if !found {
		return ""
	}
	return before + podspec.RunnerName + after
}

// managerAccount is the manager's ServiceAccount in config/rbac.
const managerAccount = "sampan-controller-manager"
