package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// The policy holds for the whole cluster, so this one only allows more: what other
// scenarios do meanwhile does not need it.
var _ = Describe("The administrator's policy", Serial, func() {
	It("keeps a label off a pod until it allows it", func() {
		s := scripted(justDone)
		s.apply(task("labelled", "prompt: Run.\nsandbox: {template: {metadata: {labels: {team: payments}}}}"))
		at := s.awaitReason("labelled", v1alpha1.ReasonPolicyViolation)
		Expect(succeeded(at).Message).To(ContainSubstring(`spec.sandbox.template.metadata.labels: "team" (policy: metadata.labels)`))
		DeferCleanup(func() { kubectl("-n", operatorNamespace, "delete", "configmap", "sampan-policy", "--ignore-not-found") })
		kubectl("-n", operatorNamespace, "create", "configmap", "sampan-policy",
			"--from-literal=policy.yaml=version: 1\nmetadata: {labels: [team]}\n")
		Expect(s.awaitEnd("labelled", "True Completed").Status.PodName).To(Equal("labelled-1"))
		Expect(kubectl("-n", s.name, "get", "pod", "labelled-1", "-o", "jsonpath={.metadata.labels.team}")).To(Equal("payments"))
	})
})
