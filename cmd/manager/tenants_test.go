package main

import (
	"strings"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/slim"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/crowd"
)

// A small run of test/bench/tenants, which measures times too: the largest tasks and
// every kind of hostile registry neither end the manager nor fill its memory, each
// honest task beside them gets its status, and the large ones get their pods.
func TestTenantsDoNotEndTheManager(t *testing.T) {
	ctrl.SetLogger(logr.Discard())
	api, err := cluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := api.Stop(); err != nil {
			t.Error(err)
		}
	}()
	const active, most = 3, 256 << 20
	phases, err := crowd.Run(t.Context(), api, crowd.Options{Tasks: 12, Active: active, Registries: 16, Edits: 1, Samples: 2, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range phases {
		t.Logf("%s: peak RSS %d MiB, first status after %v", p.Name, p.PeakRSS>>20, p.Status)
		if p.PeakRSS > most {
			t.Errorf("%s: the manager took %d MiB", p.Name, p.PeakRSS>>20)
		}
	}
	var pods corev1.PodList
	if err := api.Client.List(t.Context(), &pods, client.InNamespace("large")); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != active {
		t.Errorf("%d large tasks have a pod, want %d", len(pods.Items), active)
	}
	for _, pod := range pods.Items {
		for _, c := range pod.Spec.Containers {
			if c.Name == podapi.SandboxContainer && len(c.Env) < 64 {
				t.Errorf("Pod %s has %d variables: it was made from a stub", pod.Name, len(c.Env))
			}
		}
	}
}

// What is kept of an object is in the tests of slim; this is that the manager's
// cache asks it for every kind.
func TestTheCacheKeepsWhatIsUsed(t *testing.T) {
	o := cacheOptions()
	large := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	large.Spec.Prompt = strings.Repeat("x", 64<<10)
	kept, err := o.DefaultTransform(large)
	if err != nil || !slim.Partial(kept.(client.Object)) {
		t.Errorf("the cache keeps all of a large task: %v", err)
	}
	for obj, by := range o.ByObject {
		if by.Transform != nil {
			t.Errorf("%T goes past what all are kept by", obj)
		}
		if by.Label == nil && by.Field == nil {
			t.Errorf("all %T of the cluster are cached", obj)
		}
	}
}
