package scale

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKeyOf: what the clients of a run count must have the names that the API server
// counts them by, or others' requests are taken for the manager's.
func TestKeyOf(t *testing.T) {
	for name, c := range map[string]struct{ method, url, contentType, want string }{
		"create":           {"POST", "/apis/sampan.dev/v1alpha1/namespaces/ns/agenttasks", "", "POST agenttasks.sampan.dev"},
		"subresource":      {"POST", "/api/v1/namespaces/ns/pods/x/binding", "", "POST pods/binding"},
		"get":              {"GET", "/api/v1/namespaces/ns/pods/x", "", "GET pods"},
		"list":             {"GET", "/api/v1/pods?limit=500", "", "LIST pods"},
		"watch":            {"GET", "/api/v1/pods?watch=true", "", ""},
		"patch":            {"PATCH", "/api/v1/namespaces/ns/pods/x/status", "application/merge-patch+json", "PATCH pods/status"},
		"apply":            {"PATCH", "/apis/sampan.dev/v1alpha1/namespaces/ns/agenttasks/x/status?force=true", "application/apply-patch+yaml", "APPLY agenttasks.sampan.dev/status"},
		"a namespace":      {"PUT", "/api/v1/namespaces/ns", "", "PUT namespaces"},
		"namespaces":       {"POST", "/api/v1/namespaces", "", "POST namespaces"},
		"delete":           {"DELETE", "/apis/sampan.dev/v1alpha1/namespaces/ns/sandboxes/x", "", "DELETE sandboxes.sampan.dev"},
		"delete several":   {"DELETE", "/apis/sampan.dev/v1alpha1/namespaces/ns/sandboxes", "", "DELETECOLLECTION sandboxes.sampan.dev"},
		"discovery":        {"GET", "/apis/sampan.dev/v1alpha1", "", ""},
		"discovery of all": {"GET", "/api", "", ""},
		"metrics":          {"GET", "/metrics", "", ""},
	} {
		req := httptest.NewRequest(c.method, c.url, http.NoBody)
		req.Header.Set("Content-Type", c.contentType)
		if got := keyOf(req); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestRequests(t *testing.T) {
	all := Counts{"POST pods": 5, "GET pods": 3, "LIST pods": 1, "PUT leases.coordination.k8s.io": 7, "PATCH agenttasks.sampan.dev/status": 9}
	own := all.without(Counts{"POST pods": 5}, Counts{"GET pods": 1})
	if d := cmp.Diff(Counts{"PATCH agenttasks.sampan.dev/status": 9}, own.Writes()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Counts{"GET pods": 2, "LIST pods": 1}, own.Reads()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"GET pods", "LIST pods"}, own.Reads().Largest()); d != "" {
		t.Error(d)
	}
}
