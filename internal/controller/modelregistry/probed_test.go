package modelregistry_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// probeOf has measured the demo model at a time.
func probeOf(t *testing.T, namespace, name string, level v1alpha1.ProbeLevel, at int64) *v1alpha1.ModelProbe {
	t.Helper()
	reg, err := models.Parse([]byte(objects.RegistryDocument))
	if err != nil {
		t.Fatal(err)
	}
	p := objects.MakeProbe(name)
	p.Namespace = namespace
	p.Status.Models = []v1alpha1.ProbedModel{{ID: "demo", Digest: models.Candidate{Model: reg.Models[0], Provider: reg.Providers["gateway"]}.Digest(),
		Measured: level, Time: new(metav1.Unix(at, 0))}}
	return p
}

// TestProbesThatCount are the latest of the namespace and of the registry's own, where the
// registry asks for them.
func TestProbesThatCount(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	const exclude = objects.RegistryDocument + "routing: {unfit: Exclude}\n"
	for name, tc := range map[string]struct {
		document string
		probes   []client.Object
		want     string
	}{
		"none":                       {exclude, nil, ""},
		"one":                        {exclude, []client.Object{probeOf(t, "ns", "a", "None", 5)}, "probe ns/a"},
		"not asked for":              {objects.RegistryDocument, []client.Object{probeOf(t, "ns", "a", "None", 5)}, ""},
		"the registry's":             {exclude, []client.Object{probeOf(t, "op", "a", "None", 5)}, "probe op/a"},
		"another tenant's":           {exclude, []client.Object{probeOf(t, "other", "a", "None", 5)}, ""},
		"a later one that is good":   {exclude, []client.Object{probeOf(t, "ns", "a", "None", 5), probeOf(t, "op", "b", "Good", 6)}, ""},
		"an earlier one":             {exclude, []client.Object{probeOf(t, "ns", "a", "None", 7), probeOf(t, "op", "b", "Good", 6)}, "probe ns/a"},
		"a later one without result": {exclude, []client.Object{probeOf(t, "ns", "a", "None", 5), probeOf(t, "ns", "b", "", 6)}, "probe ns/a"},
	} {
		t.Run(name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(tc.probes, objects.MakeRegistry("op", tc.document))...).Build()
			s := &modelregistry.Store{Reader: c, OperatorNamespace: "op", Recorder: events.NewFakeRecorder(1)}
			e := load(t, s)
			_, err := e.Route(objects.MakeTask("x").Obj(), nil, false)
			all, text := len(e.All(nil)), e.Text()
			switch {
			case tc.want == "" && (err != nil || all != 1 || text != e.Document):
				t.Errorf("routes with %v, %d models in all", err, all)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || all != 0 || text == e.Document):
				t.Errorf("routes with %v, %d models in all; want %s", err, all, tc.want)
			}
			if len(e.Declared(nil)) != 1 {
				t.Error("it could not be probed again")
			}
			if again := load(t, s); again.Registry != e.Registry {
				t.Error("the document is read again")
			}
		})
	}
}
