package metrics

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"
)

// The table of docs/metrics.md is what is exported.
func TestDocumented(t *testing.T) {
	data, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(sampan_[a-z_]+)` \\| (\\w+) \\| (.*) \\| (.*) \\|$|^\\| `(sampan_[a-z_]+)` \\| (\\w+) \\|( )\\| (.*) \\|$")
	var got []Definition
	for _, m := range row.FindAllStringSubmatch(string(data), -1) {
		if m[1] == "" {
			m = append(m[:1], m[5:]...)
		}
		d := Definition{Name: m[1], Type: m[2], Help: m[4]}
		for label := range strings.SplitSeq(m[3], ",") {
			if label = strings.Trim(label, " `"); label != "" {
				d.Labels = append(d.Labels, label)
			}
		}
		got = append(got, d)
	}
	if diff := cmp.Diff(Definitions, got); diff != "" {
		t.Errorf("docs/metrics.md (-code +docs):\n%s", diff)
	}
}

// Definitions are all that is exported.
func TestDefined(t *testing.T) {
	described := make(chan *prometheus.Desc, 100)
	NewTasks(clocktesting.NewFakePassiveClock(epoch)).Describe(described)
	close(described)
	var names []string
	for d := range described {
		var name string
		if _, err := fmt.Sscanf(d.String(), "Desc{fqName: %q", &name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	var want []string
	for _, d := range Definitions {
		want = append(want, d.Name)
	}
	slices.Sort(names)
	slices.Sort(want)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("exported (-defined +exported):\n%s", diff)
	}
}
