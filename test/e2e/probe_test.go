package e2e

import (
	_ "embed"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

//go:embed testdata/model-farm.py
var modelFarmScript string

// farmed is what is expected of a model of the farm, and what its entry has besides.
type farmed struct {
	outcome                   v1alpha1.ProbeOutcome
	measured                  v1alpha1.ProbeLevel
	category, provider, entry string
}

var farm = map[string]farmed{
	"good":       {outcome: "Fits", measured: "Excellent", entry: ", fallbackGroup: coding, priority: 2"},
	"keyed":      {outcome: "Fits", measured: "Excellent", provider: ", apiKey: {secretName: model-key, key: key}"},
	"slow":       {outcome: "ServerTrouble", category: "Timeout", provider: ", timeouts: {firstByteSeconds: 2}"},
	"busy":       {outcome: "ServerTrouble", category: "RateLimited"},
	"locked":     {outcome: "FixSetup", category: "CredentialConfig", provider: ", apiKey: {secretName: model-key, key: key}"},
	"keyless":    {outcome: "FixSetup", category: "CredentialConfig", provider: ", apiKey: {secretName: absent, key: key}"},
	"missing":    {outcome: "FixSetup", category: "ProviderUnsupported"},
	"shape":      {outcome: "FixSetup", category: "ProviderUnsupported"},
	"truncating": {outcome: "ServerTrouble", category: "TruncatedStream"},
	"markup":     {outcome: "BelowLevel", measured: "None", category: "TextToolCall"},
	"lying":      {outcome: "BelowLevel", measured: "Limited", category: "ModelQuality", entry: ", fallbackGroup: coding, priority: 1"},
	"talking":    {outcome: "BelowLevel", measured: "None", category: "ModelQuality"},
	"expensive":  {outcome: "NotFinished", entry: `, pricing: {inputPerMTok: "9000", outputPerMTok: "90000"}`},
}

// farmRegistry has each model of the farm.
func farmRegistry() string {
	providers, entries := "", ""
	for kind, f := range farm {
		providers += fmt.Sprintf("  %s: {type: openai, baseURL: \"http://model-farm:8080/%s/v1\"%s}\n", kind, kind, f.provider)
		entries += fmt.Sprintf("- {id: %s, provider: %s%s}\n", kind, kind, f.entry)
	}
	return "version: 1\ndefault: {group: coding}\nrouting: {unfit: Exclude}\nproviders:\n" + providers + "models:\n" + entries
}

// awaitProbe waits until a probe has ended.
func (s *space) awaitProbe(name string) *v1alpha1.ModelProbe {
	GinkgoHelper()
	probe := &v1alpha1.ModelProbe{}
	Eventually(func() *metav1.Time {
		Expect(cluster.Get(suiteContext(), types.NamespacedName{Namespace: s.name, Name: name}, probe)).To(Succeed())
		return probe.Status.CompletionTime
	}).WithTimeout(3*patience).ShouldNot(BeNil(), "ModelProbe %s does not end", name)
	return probe
}

var _ = Describe("A probe", func() {
	It("tells each model of a farm by its own category, and keeps those that are unfit from tasks", func() {
		s := newSpace()
		s.applySecret("model-key", map[string]string{"key": "farm-key"})
		s.applyConfigMap("model-farm", "model-farm.py", modelFarmScript)
		s.applyRegistry(farmRegistry())
		s.serve("model-farm", "[python3, /etc/server/model-farm.py]", "[{name: MODEL_API_KEY, valueFrom: {secretKeyRef: {name: model-key, key: key}}}]")
		s.apply("apiVersion: sampan.dev/v1alpha1\nkind: ModelProbe\nmetadata: {name: all}\nspec: {limits: {activeSeconds: 240}}")
		probe := s.awaitProbe("all")
		c := meta.FindStatusCondition(probe.Status.Conditions, v1alpha1.ConditionComplete)
		Expect(c.Status).To(Equal(metav1.ConditionTrue), "%s: %s", c.Reason, c.Message)
		Expect(probe.Status.Models).To(HaveLen(len(farm)))
		for _, m := range probe.Status.Models {
			want := farm[m.ID]
			Expect([]any{m.Outcome, m.Measured, m.Category}).To(Equal([]any{want.outcome, want.measured, want.category}), "%s: %s", m.ID, m.Message)
			Expect(m.Message + strings.Join(m.Findings, "")).NotTo(ContainSubstring("\x1b"))
			Expect(m.Message + strings.Join(m.Findings, "")).NotTo(ContainSubstring("farm-key"))
		}
		Expect(kubectl("-n", s.name, "get", "modelprobe", "all")).To(MatchRegexp(`all +True +Probed +13 +2 +3 `))

		By("having one pod, with a runner alone")
		pod := s.pod(podapi.ProbePod("all"))
		Expect(pod.Spec.Containers).To(HaveLen(1))
		Expect(kubectl("-n", s.name, "logs", pod.Name)).NotTo(ContainSubstring("farm-key"))

		By("giving tasks a model that fits")
		s.apply(task("any", "prompt: Say that you are done."), task("named", "prompt: Say that you are done.\nmodel: {name: lying}\nlimits: {activeSeconds: 600}"))
		Expect(s.awaitEnd("any", "True Completed").Status.Progress.Model).To(Equal("good"))
		named := s.awaitReason("named", v1alpha1.ReasonModelNotFound)
		Expect(succeeded(named).Message).To(ContainSubstring("lying calls tools at level Limited, as probe %s/all has measured at ", s.name))

		By("letting nobody forge a result")
		_, err := tryKubectl("", "-n", s.name, "patch", "modelprobe", "all", "--subresource=status", "--type=merge", "-p", `{"status":{"models":null}}`,
			"--as=eve", "--as-group=system:authenticated")
		Expect(err).To(HaveOccurred())

		By("going with all that was made for it")
		kubectl("-n", s.name, "delete", "modelprobe", "all", "--timeout=60s")
		s.awaitNoPod(podapi.ProbePod("all"))
		s.awaitEnd("named", "True Completed") // nothing is known of its model any more
	})

	It("says that its model server is not there", func() {
		s := newSpace()
		s.applyRegistry("version: 1\nproviders: {p: {type: openai, baseURL: \"http://nowhere:8080/v1\"}}\nmodels: [{id: m, provider: p}]\n")
		s.apply("apiVersion: sampan.dev/v1alpha1\nkind: ModelProbe\nmetadata: {name: one}\nspec: {ttlSecondsAfterFinished: 3600}")
		probe := s.awaitProbe("one")
		Expect(probe.Status.Models).To(HaveLen(1))
		Expect(probe.Status.Models[0].Outcome).To(Equal(v1alpha1.ProbeFixSetup), probe.Status.Models[0].Message)
	})
})
