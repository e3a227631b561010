package e2e

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

//go:embed testdata/forge
var forgePrograms embed.FS

// forgery is a way to have a verification pass that must fail. The agent runs its
// program in the sandbox and says that it is done.
type forgery struct {
	// program is a Python program of testdata/forge, or the text of a shell script.
	program string
	// verify is what must fail; by default it takes a moment, looks for the word in
	// a file that only something beside it can have written, and exits with 7.
	verify string
}

const (
	lookForProof = `rm -f proof; sleep 0.5; grep -qx good proof && exit 0; exit 7`
	python7      = `python3 -c 'raise SystemExit(7)'`
)

// forever is a shell loop that changes the file that is verified.
const forever = `while :; do echo good > /workspace/proof; sleep 0.01; rm -f /workspace/proof; done`

var forgeries = map[string]forgery{
	"claims":            {program: `echo 'verification passed: {"exitCode":0,"reason":"Completed"}'`, verify: "exit 7"},
	"queued-requests":   {program: "queued-requests.py"},
	"replaced-socket":   {program: "replace-socket.py", verify: "exit 7"},
	"traced-shells":     {program: "trace-shells.py", verify: "sleep 1; exit 7"},
	"hidden-leader":     {program: "hidden-leader.py"},
	"server-limits":     {program: "limits.py", verify: "sleep 0.2; exit 7"},
	"api-server":        {program: "api.py", verify: "exit 7"},
	"background":        {program: "(" + forever + ") >/dev/null 2>&1 &"},
	"new-session":       {program: "setsid sh -c '" + forever + "' >/dev/null 2>&1 </dev/null &"},
	"no-environment":    {program: "(setsid env -i /bin/sh -c '(" + forever + ") & (" + forever + ") &' >/dev/null 2>&1 </dev/null &)"},
	"ignores-signals":   {program: "(trap '' TERM HUP INT QUIT; setsid sh -c \"trap '' TERM HUP INT QUIT; " + forever + "\" >/dev/null 2>&1 </dev/null &)"},
	"looks-like-server": {program: "(setsid bash -c 'exec -a \"agent-runner sandbox --socket /run/sampan/sandbox.sock\" sh -c \"" + forever + "\"' >/dev/null 2>&1 </dev/null &)"},
	"user-namespace":    {program: "(setsid unshare -Urpf sh -c '" + forever + "' >/dev/null 2>&1 </dev/null &); sleep 0.1"},
	"stopped-waker":     {program: "(setsid sh -c '(" + forever + ") & p=$!; kill -STOP $p; sleep 1; kill -CONT $p; wait' >/dev/null 2>&1 </dev/null &)"},
	"always-forking":    {program: `(setsid sh -c 'hop() { echo good > /workspace/proof; hop & exit; }; hop' >/dev/null 2>&1 </dev/null &)`},
	"fork-bomb":         {program: `(setsid bash -c 'f() { echo good > /workspace/proof; f | f & f & }; f' >/dev/null 2>&1 </dev/null &); sleep 1`},
	"signals-to-server": {program: "kill -STOP 1; kill -KILL 1; kill -SEGV 1; echo sent", verify: "exit 7"},
	"path-in-home":      {program: `mkdir -p ~/bin ~/.local/bin; for d in ~/bin ~/.local/bin .; do printf '#!/bin/sh\nexit 0\n' > $d/python3; chmod 755 $d/python3; done; for f in ~/.bashrc ~/.profile ~/.bash_profile ~/.bash_env; do echo 'PATH=$HOME/bin:$PATH' > $f; done`, verify: python7},
	"user-site":         {program: `d=$(python3 -c 'import site; print(site.getusersitepackages())'); mkdir -p "$d"; echo 'import os; os._exit(0)' | tee "$d/usercustomize.py" "$d/sitecustomize.py" > "$d/zz.pth"; echo 'import os; os._exit(0)' > ~/.pythonrc`, verify: python7},
	"git-home":          {program: `git config --global alias.prove '!true'; git config --global core.hooksPath /tmp/hooks`, verify: "git prove || exit 7"},
	"temporary-files":   {program: `echo good > /tmp/proof; mkdir -p "$TMPDIR" 2>/dev/null; echo good > "${TMPDIR:-/tmp}/proof"`, verify: `grep -qx good "$TMPDIR/proof" || exit 7`},
	"preload":           {program: `echo /workspace/x.so > /etc/ld.so.preload; touch /usr/local/bin/python3; ln -sf /bin/true /usr/bin/python3; true`, verify: python7},
	"termination-log":   {program: `echo '{"reason":"Completed","exitCode":0}' > /dev/termination-log; echo '{"reason":"Completed"}' > /proc/1/fd/1; true`, verify: "exit 7"},
	"full-disk":         {program: `head -c 3G /dev/zero > /tmp/full 2>/dev/null; head -c 100M /dev/zero > ~/full; true`, verify: "exit 7"},
	"later-swap":        {program: `echo good > hidden; (setsid sh -c 'while ! test -e /workspace/started; do :; done; mv /workspace/hidden /workspace/proof' >/dev/null 2>&1 </dev/null &)`, verify: "touch started; " + lookForProof},
}

var _ = Describe("Proof", func() {
	It("cannot be forged", func() {
		s := newSpace()
		s.applyRegistry(registry)
		s.applyConfigMap("script", "script.yaml", `
turns:
- toolCalls: [{name: bash, arguments: {command: "eval \"$FORGE\"; echo over", timeout_seconds: 20}}]
- {text: It is proved.}
- {text: It is proved.}
- {text: It is proved.}
- {text: It is proved.}
`)
		for name, f := range forgeries {
			s.apply(f.task(s.name, name))
		}
		for name := range forgeries {
			at := s.awaitAnyEnd(name)
			GinkgoWriter.Printf("%-20s %s: %s\n", name, outcome(at), succeeded(at).Message)
			Expect(succeeded(at).Status).To(Equal(metav1.ConditionFalse), "%s: a forged proof", name)
			for _, v := range at.Status.Result.Verifications {
				Expect(v.Outcome).NotTo(Equal(v1alpha1.VerificationPassed), name)
			}
		}
	})

	It("is not forged by what an earlier task left in a named Sandbox", func() {
		s := newSpace()
		s.applyRegistry(registry)
		s.applyConfigMap("script", "script.yaml", `
turns:
- toolCalls: [{name: bash, arguments: {command: "eval \"$FORGE\"; echo over", timeout_seconds: 20}}]
- {text: It is done.}
`)
		program, err := json.Marshal(forgeries["no-environment"].program)
		Expect(err).NotTo(HaveOccurred())
		s.apply("apiVersion: sampan.dev/v1alpha1\nkind: Sandbox\nmetadata: {name: shared}\nspec: {template: {env: [{name: FORGE, value: " + string(program) + "}]}}")
		s.apply(task("first", "prompt: Leave something behind.\nsandbox: {sandboxRef: {name: shared}}"))
		s.awaitEnd("first", "True Completed")
		s.exec("shared-1", "sandbox", `rm -f proof; for i in $(seq 100); do test -e proof && exit 1; sleep 0.02; done`)
	})
})

// task is the manifest of a task that tries it.
func (f forgery) task(namespace, name string) string {
	GinkgoHelper()
	program := f.program
	if strings.HasSuffix(program, ".py") {
		data, err := forgePrograms.ReadFile("testdata/forge/" + program)
		Expect(err).NotTo(HaveOccurred())
		program = "python3 - <<'PROGRAM'\n" + string(data) + "PROGRAM\n"
	}
	verify := f.verify
	if verify == "" {
		verify = lookForProof
	}
	quoted := map[string]string{"program": program, "verify": verify}
	for k, v := range quoted {
		data, err := json.Marshal(v)
		Expect(err).NotTo(HaveOccurred())
		quoted[k] = string(data)
	}
	return task(name, fmt.Sprintf("prompt: Forge a proof.\nverify: [{name: proof, command: %s}]\n"+
		"sandbox: {template: {env: [{name: FORGE, value: %s}, {name: NS, value: %s}, {name: TASK, value: %s}]}}",
		quoted["verify"], quoted["program"], namespace, name))
}

// awaitAnyEnd waits for a task to end, however that is. Many may run at once.
func (s *space) awaitAnyEnd(name string) *v1alpha1.AgentTask {
	GinkgoHelper()
	var at *v1alpha1.AgentTask
	Eventually(func() metav1.ConditionStatus {
		at = s.get(name)
		return succeeded(at).Status
	}).WithTimeout(6*time.Minute).Should(BeElementOf(metav1.ConditionTrue, metav1.ConditionFalse), "AgentTask %s does not end", name)
	return at
}
