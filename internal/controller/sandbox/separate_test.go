package sandbox

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

func TestIsolationProblem(t *testing.T) {
	claim := []v1alpha1.Volume{{Name: "data", PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}
	separate := objects.MakeTask("x").Verify("a", "true").VerifySeparately("b", "true").Obj()
	for name, c := range map[string]struct {
		task    *v1alpha1.AgentTask
		record  *podspec.Record
		volumes []v1alpha1.Volume
		want    string
	}{
		"nothing of the kind": {objects.MakeTask("x").Verify("a", "true").Obj(), nil, claim, ""},
		"all is there":        {separate, &podspec.Record{}, nil, ""},
		"no record":           {separate, nil, nil, "spec.verify[1].isolation: Separate needs a checkpoint"},
		"a volume":            {separate, &podspec.Record{}, claim, "spec.verify[1].isolation: Separate cannot be had: tools can write to the volume data"},
	} {
		t.Run(name, func(t *testing.T) {
			sb := objects.MakeSandbox("x").With(func(sb *v1alpha1.Sandbox) { sb.Spec.Template.Volumes = c.volumes }).Obj()
			got := isolationProblem(&podspec.Input{Sandbox: sb, Record: c.record}, c.task)
			switch {
			case c.want == "" && got != nil:
				t.Errorf("got %+v", got)
			case c.want != "" && (got == nil || got.passing || got.reason != v1alpha1.ReasonIsolationUnavailable || !strings.HasPrefix(got.message, c.want)):
				t.Errorf("got %+v, want %q", got, c.want)
			}
		})
	}
}
