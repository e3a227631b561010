package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

var _ = Describe("The files of a verification", func() {
	It("decide, and are never seen by the agent", func() {
		secret := canary("test")
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "touch ready; until test -e release; do sleep 0.1; done; env; ls -laR /tmp /etc/sampan ~", timeout_seconds: 600}}]
- text: Done, I think.
- expectMatch: "(?s)verification \"hidden\" failed \\(exit code 2\\)" # grep: there is no such file
  toolCalls: [{name: bash, arguments: {command: "echo right > answer; mkdir -p files; echo exit 0 > files/check.sh; export VERIFY_FILES=$PWD/files; ls -laR /tmp ~ > seen; touch again; until test -e go; do sleep 0.1; done", timeout_seconds: 600}}]
- text: Done.
`)
		s.applyConfigMap("tests", "check.sh", "# "+secret+"\ngrep -qx right answer\n")
		s.apply(task("sealed", `
prompt: Write the answer.
verify:
- name: hidden
  command: test ! -w "$VERIFY_FILES/check.sh" && sh "$VERIFY_FILES/check.sh"
  files: {configMapName: tests, keys: [check.sh]}
`))
		s.awaitExec("sealed-1", "sandbox", "test -e ready")
		Expect(s.exec("sealed-1", "runner", "cat /etc/sampan/verify/0/check.sh")).To(ContainSubstring(secret), "the runner has them")
		Expect(s.search("sealed-1", secret).Found).To(BeEmpty(), "before the verification")
		s.exec("sealed-1", "sandbox", "touch release")

		s.awaitExec("sealed-1", "sandbox", "test -e again")
		Expect(s.search("sealed-1", secret).Found).To(BeEmpty(), "after a verification that failed")
		s.exec("sealed-1", "sandbox", "touch go")

		at := s.awaitEnd("sealed", "True Completed")
		Expect(at.Status.Result.Verifications).To(HaveLen(1))
		Expect(at.Status.Result.Verifications[0].Outcome).To(Equal(v1alpha1.VerificationPassed))
		kubectl("-n", s.name, "delete", "configmap", "tests") // it has the files by our own doing
		Expect(s.everythingSaid()).NotTo(ContainSubstring(secret))
	})

	It("are waited for", func() {
		s := scripted(justDone)
		s.apply(task("early", `
prompt: Do nothing.
verify: [{name: hidden, command: sh "$VERIFY_FILES/check.sh", files: {configMapName: late, keys: [check.sh]}}]
`))
		s.awaitReason("early", v1alpha1.ReasonVerifyFilesNotFound)
		s.applyConfigMap("late", "check.sh", "exit 0")
		s.awaitEnd("early", "True Completed")
	})
})
