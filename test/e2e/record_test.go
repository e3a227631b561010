package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

var _ = Describe("The record of a task", func() {
	It("is a transcript of exactly the length and digest that status says", func() {
		s := scripted(`
turns:
- text: I write in several scripts.
  toolCalls: [{name: write_file, arguments: {path: greeting, content: "Grüße, 世界\n"}}]
- toolCalls: [{name: bash, arguments: {command: "seq 1 20000"}}]
- expect: "20000"
  text: Done.
`)
		s.apply(task("record", "prompt: Write something.\nverify: [{name: greeting, command: cat greeting}]"))
		at := s.awaitEnd("record", "True Completed")
		text := transcriptOf(at)
		Expect(int64(len(text))).To(Equal(*at.Status.Transcript.Bytes))
		Expect(int64(strings.Count(text, "\n"))).To(Equal(*at.Status.Transcript.Events))
		sum := sha256.Sum256([]byte(text))
		Expect("sha256:" + hex.EncodeToString(sum[:])).To(Equal(at.Status.Transcript.Digest))
		Expect(text).To(ContainSubstring("Grüße, 世界"))
	})

	It("holds a prompt of 200 KiB from a ConfigMap, whole", func() {
		s := scripted("cases: [{match: the very end, turns: [{text: Read to the end.}]}]")
		prompt := "The very beginning.\n" + strings.Repeat("All work and no play, €.\n", 200<<10)[:200<<10] + "\nthe very end"
		s.applyConfigMap("novel", "text", prompt)
		s.apply(task("reader", "promptFrom: {configMapKeyRef: {name: novel, key: text}}"))
		at := s.awaitEnd("reader", "True Completed")
		Expect(at.Status.Result.Message).To(Equal("Read to the end."))
		lines := bufio.NewScanner(strings.NewReader(transcriptOf(at)))
		lines.Buffer(nil, 4<<20)
		Expect(lines.Scan()).To(BeTrue())
		var first struct {
			Type string
			Data struct{ Prompt string }
		}
		Expect(json.Unmarshal(lines.Bytes(), &first)).To(Succeed())
		Expect(first.Type).To(Equal("run_started"))
		Expect(first.Data.Prompt).To(Equal(prompt), "the prompt has %d bytes, was given %d", len(first.Data.Prompt), len(prompt))
		pod, err := json.Marshal(s.pod("reader-1"))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(pod)).NotTo(ContainSubstring("no play"), "a prompt is in no argument and no environment")
	})

	It("is shown by kubectl get in the documented columns", func() {
		s := scripted("turns: [{text: Done., usage: {inputTokens: 1000, outputTokens: 100}}]")
		s.apply(task("columns", "prompt: Nothing."))
		s.awaitEnd("columns", "True Completed")
		lines := strings.Split(kubectl("-n", s.name, "get", "atask"), "\n")
		Expect(strings.Fields(lines[0])).To(Equal([]string{"NAME", "SUCCEEDED", "REASON", "TURNS", "COST", "MODEL", "AGE"}))
		row := strings.Fields(lines[1])
		Expect(row[:6]).To(Equal([]string{"columns", "True", "Completed", "1", "0.0007", "scripted"}))
		lines = strings.Split(kubectl("-n", s.name, "get", "atask", "-o", "wide"), "\n")
		Expect(strings.Fields(lines[0])).To(Equal([]string{"NAME", "SUCCEEDED", "REASON", "TURNS", "COST", "MODEL",
			"SANDBOX", "ATTEMPT", "STARTED", "FINISHED", "AGE"}))
		Expect(strings.Fields(lines[1])[6:8]).To(Equal([]string{"columns", "1"}))
		Expect(kubectl("-n", s.name, "get", "box")).To(ContainSubstring("columns"))
		Expect(kubectl("-n", s.name, "get", "sampan", "-o", "name")).To(And(
			ContainSubstring("agenttask.sampan.dev/columns"), ContainSubstring("sandbox.sampan.dev/columns")))
	})
})

// transcriptOf fetches a transcript as status says and checks it with agent-runner.
func transcriptOf(at *v1alpha1.AgentTask) string {
	GinkgoHelper()
	Expect(at.Status.Transcript.URI).NotTo(BeEmpty())
	text := ""
	Eventually(func() (err error) { // kubelet may be a second late to say that the container ran
		text, err = tryKubectl("", "get", "--raw", at.Status.Transcript.URI)
		return err
	}).WithTimeout(patience).Should(Succeed())
	verify := exec.Command(agentRunner, "transcript", "verify", "-")
	verify.Stdin = strings.NewReader(text)
	out, err := verify.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
	// A named Sandbox's log has those of the tasks before it, too.
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	Expect(lines[len(lines)-1]).To(HavePrefix(fmt.Sprintf("%d events, %d bytes, %s;",
		*at.Status.Transcript.Events, *at.Status.Transcript.Bytes, at.Status.Transcript.Digest)))
	return text
}
