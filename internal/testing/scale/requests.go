package scale

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Counts are how often things were done, by name: reconciles by controller, and what
// was asked of an API server by verb and resource, such as
// "PATCH agenttasks.sampan.dev/status". The verbs are those of the API server's own
// metrics; watches are left out.
type Counts map[string]int

// write are the verbs that change something.
var write = []string{"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}

// unbilled are written by the clock and not by tasks, or are no writes of an object.
var unbilled = []string{"leases.coordination.k8s.io", "tokenreviews.authentication.k8s.io", "subjectaccessreviews.authorization.k8s.io"}

// Writes are those that changed something because of a task.
func (r Counts) Writes() Counts {
	out := maps.Clone(r)
	maps.DeleteFunc(out, func(key string, _ int) bool {
		verb, resource, _ := strings.Cut(key, " ")
		return !slices.Contains(write, verb) || slices.Contains(unbilled, resource)
	})
	return out
}

// Reads are those that changed nothing.
func (r Counts) Reads() Counts {
	out := maps.Clone(r)
	maps.DeleteFunc(out, func(key string, _ int) bool {
		return !strings.HasPrefix(key, "GET ") && !strings.HasPrefix(key, "LIST ")
	})
	return out
}

// Total is how many there are.
func (r Counts) Total() int {
	n := 0
	for _, count := range r {
		n += count
	}
	return n
}

// Largest are the keys, the most frequent first.
func (r Counts) Largest() []string {
	return slices.SortedFunc(maps.Keys(r), func(a, b string) int {
		if d := r[b] - r[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
}

// without takes away what others have asked.
func (r Counts) without(others ...Counts) Counts {
	out := maps.Clone(r)
	for _, o := range others {
		for key, n := range o {
			out[key] -= n
		}
	}
	maps.DeleteFunc(out, func(_ string, n int) bool { return n == 0 })
	return out
}

// served reads from an API server's metrics what it was asked by everybody.
func served(metrics families) Counts {
	out := Counts{}
	for _, m := range metrics["apiserver_request_total"].GetMetric() {
		l := labels(m)
		if l["verb"] == "WATCH" || l["resource"] == "" {
			continue
		}
		out[key(l["verb"], l["group"], l["resource"], l["subresource"])] += int(m.GetCounter().GetValue())
	}
	return out
}

func key(verb, group, resource, subresource string) string {
	k := verb + " " + resource
	if group != "" {
		k += "." + group
	}
	if subresource != "" {
		k += "/" + subresource
	}
	return k
}

// counter counts the requests of the clients that are made with it.
type counter struct {
	mu   sync.Mutex
	seen Counts
}

// config is one whose clients are counted.
func (c *counter) config(config *rest.Config) *rest.Config {
	out := rest.CopyConfig(config)
	out.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{next, c} })
	return out
}

func (c *counter) requests() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.seen)
}

type counting struct {
	next http.RoundTripper
	*counter
}

// RoundTrip implements http.RoundTripper.
func (c counting) RoundTrip(req *http.Request) (*http.Response, error) {
	if k := keyOf(req); k != "" {
		c.mu.Lock()
		if c.seen == nil {
			c.seen = Counts{}
		}
		c.seen[k]++
		c.mu.Unlock()
	}
	return c.next.RoundTrip(req)
}

// keyOf names a request as the API server's metrics do; empty for a watch, and for
// what is about no resource.
func keyOf(req *http.Request) string {
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	group := ""
	switch {
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		group, parts = parts[1], parts[3:]
	default:
		return ""
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	verb, subresource := req.Method, ""
	switch {
	case req.URL.Query().Get("watch") != "":
		return ""
	case verb == http.MethodPatch && req.Header.Get("Content-Type") == string(types.ApplyPatchType):
		verb = "APPLY"
	case verb == http.MethodGet && len(parts) == 1:
		verb = "LIST"
	case verb == http.MethodDelete && len(parts) == 1:
		verb = "DELETECOLLECTION"
	}
	if len(parts) > 2 {
		subresource = parts[2]
	}
	return key(verb, group, parts[0], subresource)
}
