package modelregistry_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

const broken = "models: ["

func newStore(objs ...client.Object) (*modelregistry.Store, client.Client, *events.FakeRecorder) {
	c := fake.NewClientBuilder().WithObjects(objs...).Build()
	recorder := events.NewFakeRecorder(10)
	return &modelregistry.Store{Reader: c, OperatorNamespace: "op", Recorder: recorder}, c, recorder
}

func load(t *testing.T, s *modelregistry.Store) *modelregistry.Entry {
	t.Helper()
	e, err := s.Load(context.Background(), "ns")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func edit(t *testing.T, c client.Client, namespace, document string) {
	t.Helper()
	var cm corev1.ConfigMap
	if err := c.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: modelregistry.ConfigMapName}, &cm); err != nil {
		t.Fatal(err)
	}
	cm.Data = map[string]string{modelregistry.Key: document}
	if err := c.Update(context.Background(), &cm); err != nil {
		t.Fatal(err)
	}
}

func TestTheNearestRegistryHolds(t *testing.T) {
	s, c, _ := newStore(objects.MakeRegistry("op", objects.RegistryDocument))
	if e := load(t, s); e.Source.Namespace != "op" {
		t.Errorf("source is %v", e.Source)
	}
	if err := c.Create(context.Background(), objects.MakeRegistry("ns", objects.RegistryDocument)); err != nil {
		t.Fatal(err)
	}
	if e := load(t, s); e.Source.Namespace != "ns" {
		t.Errorf("source is %v", e.Source)
	}
}

func TestNoRegistry(t *testing.T) {
	s, _, _ := newStore()
	_, err := s.Load(context.Background(), "ns")
	if !errors.Is(err, modelregistry.ErrNotFound) || !strings.Contains(err.Error(), "namespace ns nor in op") {
		t.Errorf("error is %v", err)
	}
}

func TestABrokenEditLeavesTheLastValid(t *testing.T) {
	s, c, recorder := newStore(objects.MakeRegistry("ns", objects.RegistryDocument))
	if e := load(t, s); e.Warning != "" {
		t.Errorf("warning is %q", e.Warning)
	}
	edit(t, c, "ns", broken)
	for range 3 {
		e := load(t, s)
		if e.Warning == "" || e.Document != objects.RegistryDocument || len(e.Registry.Models) != 1 {
			t.Errorf("entry is %+v", e)
		}
		if strings.Contains(e.Warning, "\n") {
			t.Errorf("warning has several lines: %q", e.Warning)
		}
	}
	if n := len(recorder.Events); n != 1 {
		t.Errorf("%d events; one edit is worth one", n)
	}
	edit(t, c, "ns", objects.RegistryDocument+"- {id: second, provider: gateway}\n")
	if e := load(t, s); e.Warning != "" || len(e.Registry.Models) != 2 {
		t.Errorf("a mended registry gives %+v", e)
	}
}

func TestABrokenRegistryIsNoRegistry(t *testing.T) {
	s, c, _ := newStore(objects.MakeRegistry("ns", broken), objects.MakeRegistry("op", objects.RegistryDocument))
	var invalid *models.InvalidError
	if _, err := s.Load(context.Background(), "ns"); !errors.As(err, &invalid) {
		t.Errorf("error is %v; the operator's registry must not stand in for a broken one", err)
	}
	edit(t, c, "ns", objects.RegistryDocument)
	if e := load(t, s); e.Warning != "" {
		t.Errorf("warning is %q", e.Warning)
	}
}

func TestAMissingKeyIsSaid(t *testing.T) {
	cm := objects.MakeRegistry("ns", "")
	cm.Data = map[string]string{"other.yaml": "x"}
	s, _, recorder := newStore(cm)
	_, err := s.Load(context.Background(), "ns")
	var invalid *models.InvalidError
	if !errors.As(err, &invalid) { // as the event says
		t.Errorf("error is %v, want an invalid registry", err)
	}
	if want := "ConfigMap ns/sampan-models: there is no key models.yaml; put the registry under it"; err.Error() != want {
		t.Errorf("error is %q, want %q", err, want)
	}
	if got, want := <-recorder.Events, "Warning RegistryInvalid there is no key models.yaml; put the registry under it"; got != want {
		t.Errorf("event is %q, want %q", got, want)
	}
}
