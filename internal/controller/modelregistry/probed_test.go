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

// within gives a probe its beginning and end.
func within(p *v1alpha1.ModelProbe, begin, end int64) *v1alpha1.ModelProbe {
	p.Status.StartTime, p.Status.CompletionTime = new(metav1.Unix(begin, 0)), new(metav1.Unix(end, 0))
	return p
}

// TestModelsOfASandboxForAny are those that are not unfit, and all where that leaves none:
// its runner does not start with a registry that is empty.
func TestModelsOfASandboxForAny(t *testing.T) {
	reg, err := models.Parse([]byte(`version: 1
default: {group: coding}
routing: {unfit: Exclude}
providers: {p: {type: openai, baseURL: "http://models.team.svc/v1"}}
models:
- {id: a, provider: p, fallbackGroup: coding}
- {id: b, provider: p, fallbackGroup: coding, priority: 1}
`))
	if err != nil {
		t.Fatal(err)
	}
	digest := func(i int) string {
		return models.Candidate{Model: reg.Models[i], Provider: reg.Providers["p"]}.Digest()
	}
	e := &modelregistry.Entry{Registry: reg, Document: "doc", Probed: map[string]models.Measured{}}
	for _, tc := range []struct{ found, all, text string }{
		{"0123456789abcdef0123456789abcdef", "a b", "doc"}, // an entry that there was
		{digest(0), "b", "doc\x00a"},
		{digest(1), "a b", "doc\x00a,b"},
	} {
		e.Probed[tc.found] = models.Measured{Level: models.None}
		var ids []string
		for _, c := range e.All(nil) {
			ids = append(ids, c.Model.ID)
		}
		if got := strings.Join(ids, " "); got != tc.all || e.Text() != tc.text {
			t.Errorf("%s and %q, want %s and %q", got, e.Text(), tc.all, tc.text)
		}
		text, err := reg.Snapshot(models.Selector{}, e.All(nil))
		if _, err2 := models.ParseInCluster([]byte(text)); err != nil || err2 != nil {
			t.Errorf("a runner cannot read it: %v, %v", err, err2)
		}
	}
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
		"none":                        {exclude, nil, ""},
		"one":                         {exclude, []client.Object{probeOf(t, "ns", "a", "None", 5)}, "probe ns/a"},
		"not asked for":               {objects.RegistryDocument, []client.Object{probeOf(t, "ns", "a", "None", 5)}, ""},
		"the registry's":              {exclude, []client.Object{probeOf(t, "op", "a", "None", 5)}, "probe op/a"},
		"another tenant's":            {exclude, []client.Object{probeOf(t, "other", "a", "None", 5)}, ""},
		"a later one that is good":    {exclude, []client.Object{probeOf(t, "ns", "a", "None", 5), probeOf(t, "op", "b", "Good", 6)}, ""},
		"an earlier one":              {exclude, []client.Object{probeOf(t, "ns", "a", "None", 7), probeOf(t, "op", "b", "Good", 6)}, "probe ns/a"},
		"a later one by its clock":    {exclude, []client.Object{within(probeOf(t, "ns", "a", "None", 900), 5, 6), probeOf(t, "ns", "b", "Good", 7)}, ""},
		"an earlier one by its clock": {exclude, []client.Object{within(probeOf(t, "ns", "a", "None", 1), 8, 9), probeOf(t, "ns", "b", "Good", 7)}, "probe ns/a"},
		"a later one without result":  {exclude, []client.Object{probeOf(t, "ns", "a", "None", 5), probeOf(t, "ns", "b", "", 6)}, "probe ns/a"},
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
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || text == e.Document):
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
