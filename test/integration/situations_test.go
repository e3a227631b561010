package integration

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/recording"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var update = flag.Bool("update", false, "write docs/situations.md as the operator is, instead of holding it against that")

// situation is one that task x can be in.
type situation struct {
	reason string
	// clears says what ends it.
	clears string
	// bring brings task x into it.
	bring func(w *world)
}

// stage is a heading of the page and the situations under it.
type stage struct {
	title      string
	situations []situation
}

const (
	itself   = "by itself"
	theEnd   = "nothing: create another task"
	nextTime = "nothing: the task has ended; raise the limit in another one"
)

// started brings x's pod to where it is due to be scheduled, and running to where its
// runner has reported.
func started(w *world) {
	w.create(objects.MakeTask("x").Obj())
	w.settle()
}

func running(w *world) {
	started(w)
	w.run("x-1")
}

// lastAttempt is running, of a task with one attempt.
func lastAttempt(w *world) {
	w.create(objects.MakeTask("x").Attempts(1).Obj())
	w.settle()
	w.run("x-1")
}

// runnerSays ends x as its runner reports it.
func runnerSays(reason string) func(*world) {
	return func(w *world) {
		running(w)
		w.reportWords("x", reason, "the runner's own words")
	}
}

// interrupted ends x by the last interruption that it may have.
func interrupted(happen func(w *world)) func(*world) {
	return func(w *world) {
		started(w)
		t := w.task("x")
		w.changeStatus(t, func() { t.Status.Interruptions = 49 })
		happen(w)
		w.pass(11 * time.Second)
	}
}

// waitingFor is a container of x's pod that waits.
func waitingFor(container, reason, message string) func(*world) {
	return func(w *world) {
		started(w)
		w.podStatus("x-1", func(st *corev1.PodStatus) {
			setContainer(st, container, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}})
		})
		w.settle()
	}
}

// refusedCreate is a kind that the API server does not let be created.
func refusedCreate(kind, refusal string, change func(*v1alpha1.Sandbox)) func(*world) {
	return func(w *world) {
		w.refuse(kind, func() error { return refusals[refusal].err })
		w.create(objects.MakeTask("x").With(template(change)).Obj())
		w.settle()
	}
}

func template(change func(*v1alpha1.Sandbox)) func(*v1alpha1.AgentTask) {
	return func(t *v1alpha1.AgentTask) {
		if change != nil {
			t.Spec.Sandbox.Template = objects.MakeSandbox("").With(change).Obj().Spec.Template
		}
	}
}

func asked(state v1alpha1.TaskState) func(*world) {
	return func(w *world) {
		running(w)
		t := w.task("x")
		w.change(t, func() { t.Spec.State = state })
		w.settle()
	}
}

// inSandbox is task x in the named Sandbox dev.
func inSandbox(w *world) {
	w.create(objects.MakeTask("x").In("dev").Obj())
	w.settle()
}

var stages = []stage{
	{"Before an attempt begins", []situation{
		{v1alpha1.ReasonPolicyViolation, "a policy that allows it", func(w *world) {
			w.create(objects.MakeTask("x").With(labelled(map[string]string{"team": "a"})).Obj())
			w.settle()
		}},
		{v1alpha1.ReasonPolicyInvalid, "a policy that parses", func(w *world) {
			w.newPolicy("version: 1\nimages: debian\n")
			started(w)
		}},
		{v1alpha1.ReasonRecordUnavailable, "`sampan-record`, once it has started", func(w *world) {
			w.sandboxes.Record = &recording.Finder{Reader: w.live, Namespace: w.ns, Mode: recording.Required, Clock: w.clock}
			started(w)
		}},
		{v1alpha1.ReasonRegistryNotFound, "a ConfigMap `sampan-models` in the task's namespace or the operator's", func(w *world) {
			w.delete(objects.MakeRegistry(w.ns, ""))
			started(w)
		}},
		{v1alpha1.ReasonRegistryInvalid, "a registry that parses", func(w *world) {
			reg := objects.MakeRegistry(w.ns, "")
			w.change(reg, func() { reg.Data["models.yaml"] = "models: [" })
			started(w)
		}},
		{v1alpha1.ReasonModelNotFound, "a registry with the model", func(w *world) {
			w.create(objects.MakeTask("x").Model("other").Obj())
			w.settle()
		}},
		{v1alpha1.ReasonBudgetSpent, itself + ", when there is room; or more `costUSD` of the Budget", func(w *world) {
			w.clock.SetTime(time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC))
			registry := objects.MakeRegistry(w.ns, "")
			w.change(registry, func() { registry.Data = pricedRegistry(w.ns).Data })
			w.create(budgetOf("daily", "20"), objects.MakeTask("first").Obj())
			w.settle()
			w.spend("first", "0", "20", "")
			started(w)
		}},
		{v1alpha1.ReasonPromptNotFound, "a ConfigMap with the key", func(w *world) {
			w.create(objects.MakeTask("x").PromptFrom("words", "prompt").Obj())
			w.settle()
		}},
		{v1alpha1.ReasonVerifyFilesNotFound, "a ConfigMap with the keys", func(w *world) {
			w.create(objects.MakeTask("x").VerifyFiles("v", "true", "tests", "test.sh").Obj())
			w.settle()
		}},
		{v1alpha1.ReasonOriginNotFound, "a task of the name", func(w *world) {
			w.create(from(v1alpha1.OriginTaskReference{Name: "source"}).Obj())
			w.settle()
		}},
		{v1alpha1.ReasonOriginNotReady, itself + ", when the other task has the checkpoint or has ended", func(w *world) {
			w.create(objects.MakeTask("source").State(v1alpha1.TaskSuspended).Obj(), from(v1alpha1.OriginTaskReference{Name: "source"}).Obj())
			w.settle()
		}},
		{v1alpha1.ReasonSandboxNotFound, "a Sandbox of the name", inSandbox},
		{v1alpha1.ReasonSandboxNotShared, "nothing but another task: name a Sandbox that you have created", func(w *world) {
			w.create(objects.MakeTask("dev").Obj())
			w.settle()
			inSandbox(w)
		}},
		{v1alpha1.ReasonPoolNotFound, "a SandboxPool of the name", func(w *world) {
			w.create(objects.MakeTask("x").From("spare").Obj())
			w.settle()
		}},
		{v1alpha1.ReasonSandboxSuspended, "`spec.state: Running` of the Sandbox", func(w *world) {
			w.create(objects.MakeSandbox("dev").With(func(sb *v1alpha1.Sandbox) { sb.Spec.State = v1alpha1.SandboxSuspended }).Obj())
			w.settle()
			inSandbox(w)
		}},
		{v1alpha1.ReasonSandboxBusy, itself + ", when it is the task's turn", func(w *world) {
			w.create(objects.MakeSandbox("dev").Obj(), objects.MakeTask("first").In("dev").Obj())
			w.settle()
			inSandbox(w)
		}},
		{v1alpha1.ReasonIdle, itself + ", when the pod is gone", func(w *world) {
			w.create(objects.MakeSandbox("dev").With(idleAfter(60)).Obj())
			w.settle()
			w.run("dev-1")
			w.kubelet = false
			w.pass(61 * time.Second)
			inSandbox(w)
		}},
	}},
	{"While an attempt starts", []situation{
		{v1alpha1.ReasonStarting, itself, started},
		{v1alpha1.ReasonStarting, itself + ", at the latest five minutes after the pod should have been gone", func(w *world) {
			started(w)
			w.runOn("x-1", lostNode)
			w.report("x", v1alpha1.ReasonSandboxLost)
			w.pass(11 * time.Second)
		}},
		{v1alpha1.ReasonStarting, itself, handedOver},
		{v1alpha1.ReasonIsolationUnavailable, "a manager that keeps a record, or another task without `isolation: Separate`", func(w *world) {
			w.create(objects.MakeTask("x").VerifySeparately("v", "true").Obj())
			w.settle()
		}},
		{v1alpha1.ReasonNameConflict, "the other Sandbox's deletion, or a task of another name", func(w *world) {
			w.create(objects.MakeSandbox("x").Obj())
			started(w)
		}},
		{v1alpha1.ReasonSandboxRefused, "what the message asks for; it is tried again", refusedCreate("Sandbox", "403", nil)},
		{v1alpha1.ReasonQuotaExceeded, itself + ", when there is room", refusedCreate("Pod", "403 of a quota", nil)},
		{v1alpha1.ReasonPodRefused, "what the message asks for; it is tried again", refusedCreate("Pod", "422", nil)},
		{v1alpha1.ReasonPodRefused, itself + "; it is tried again", refusedCreate("Pod", "503", nil)},
		{v1alpha1.ReasonVolumeClaimRefused, "what the message asks for; it is tried again", refusedCreate("PersistentVolumeClaim", "403", persistent)},
		{v1alpha1.ReasonNetworkPolicyRefused, "what the message asks for; it is tried again", refusedCreate("NetworkPolicy", "422", restricted)},
		{v1alpha1.ReasonUnschedulable, itself + ", when a node takes the pod", func(w *world) {
			started(w)
			w.unscheduled("x-1", corev1.PodReasonUnschedulable, "0/3 nodes are available: 3 Insufficient cpu.")
		}},
		{v1alpha1.ReasonUnschedulable, itself + ", when the scheduler runs", func(w *world) {
			started(w)
			w.pass(61 * time.Second)
		}},
		{v1alpha1.ReasonQueued, itself + ", when the queue admits the pod", func(w *world) {
			started(w)
			w.unscheduled("x-1", corev1.PodReasonSchedulingGated, "Scheduling is blocked due to non-empty scheduling gates")
		}},
		{v1alpha1.ReasonVolumeUnbound, "a volume, or a StorageClass of the name", func(w *world) {
			w.create(objects.MakeTask("x").With(template(persistent)).Obj())
			w.settle()
			c := w.claim("x")
			w.create(&corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "x.1", Namespace: w.ns}, Type: corev1.EventTypeWarning, Reason: "ProvisioningFailed",
				Message:        `storageclass.storage.k8s.io "fast" not found`,
				InvolvedObject: corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: w.ns, Name: c.Name, UID: c.UID}})
			w.unscheduled("x-1", corev1.PodReasonUnschedulable, "pod has unbound immediate PersistentVolumeClaims")
		}},
		{v1alpha1.ReasonImagePullFailed, "an image that can be pulled, in another task, or the pull secret", waitingFor("sandbox", "ImagePullBackOff", `Back-off pulling image "nowhere/none"`)},
		{v1alpha1.ReasonSecretNotFound, "the Secret, with the key", waitingFor("runner", "CreateContainerConfigError", `secret "model-keys" not found`)},
		{v1alpha1.ReasonConfigMapNotFound, "the ConfigMap, with the key", waitingFor("runner", "CreateContainerConfigError", `configmap "script" not found`)},
		{v1alpha1.ReasonContainerConfigError, "what the message asks for", waitingFor("sandbox", "CreateContainerError", "no such device")},
		{v1alpha1.ReasonVolumeFailed, "what the message asks for", func(w *world) {
			started(w)
			w.take("x-1", "FailedMount", `MountVolume.SetUp failed for volume "workspace" : timed out`)
			w.pass(10 * time.Second)
		}},
		{v1alpha1.ReasonPodNotStarted, itself + ", when the kubelet of the node runs, or when the node counts as lost", func(w *world) {
			started(w)
			w.bind("x-1", "node")
			w.pass(61 * time.Second)
		}},
		{v1alpha1.ReasonPodNotStarted, itself + ", when the node can", func(w *world) {
			started(w)
			w.take("x-1", "FailedCreatePodSandBox", "Failed to create pod sandbox: plugin type=\"calico\" failed (add): no IP addresses available")
			w.pass(10 * time.Second)
		}},
		{v1alpha1.ReasonRunnerSilent, itself + ", after five minutes with another attempt; the runner's way to the API server", func(w *world) {
			w.silent = true
			running(w)
			w.pass(61 * time.Second)
		}},
	}},
	{"While it runs", []situation{
		{v1alpha1.ReasonRunning, itself, running},
		{v1alpha1.ReasonRunning, itself, func(w *world) {
			handedOver(w)
			w.run("x-2")
		}},
		{v1alpha1.ReasonRetrying, itself + ", after the pause", func(w *world) {
			running(w)
			w.fail("x-1", "Evicted", "The node was low on resource: memory.")
		}},
		{v1alpha1.ReasonRetrying, itself + ", when the pod is gone, or after five minutes", func(w *world) {
			started(w)
			w.runOn("x-1", lostNode)
			w.delete(w.pod("x-1"))
			w.settle()
		}},
		{v1alpha1.ReasonSuspending, itself + ", after 20 seconds at the latest", asked(v1alpha1.TaskSuspended)},
		{v1alpha1.ReasonSuspended, "`spec.state: Active`", func(w *world) {
			asked(v1alpha1.TaskSuspended)(w)
			w.report("x", v1alpha1.ReasonSuspended)
		}},
		{v1alpha1.ReasonCancelling, itself + ", after 20 seconds at the latest", asked(v1alpha1.TaskCancelled)},
	}},
	{"At its end", []situation{
		{v1alpha1.ReasonCompleted, "it is done", runnerSays(v1alpha1.ReasonCompleted)},
		{v1alpha1.ReasonVerificationFailed, theEnd, runnerSays(v1alpha1.ReasonVerificationFailed)},
		{v1alpha1.ReasonMaxTurns, nextTime, runnerSays(v1alpha1.ReasonMaxTurns)},
		{v1alpha1.ReasonBudgetExceeded, nextTime, runnerSays(v1alpha1.ReasonBudgetExceeded)},
		{v1alpha1.ReasonDeadlineExceeded, nextTime, runnerSays(v1alpha1.ReasonDeadlineExceeded)},
		{v1alpha1.ReasonDeadlineExceeded, nextTime, func(w *world) {
			w.create(objects.MakeTask("x").Active(60).Obj())
			w.settle()
			w.run("x-1")
			w.pass(76 * time.Second)
		}},
		{v1alpha1.ReasonDeadlineExceeded, "nothing: fix what it has waited for, and create another task", func(w *world) {
			w.create(objects.MakeTask("x").Active(60).Obj())
			w.settle()
			w.podStatus("x-1", func(st *corev1.PodStatus) {
				setContainer(st, "sandbox", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "not found"}})
			})
			w.settle()
			w.pass(61 * time.Second)
		}},
		{v1alpha1.ReasonLoopDetected, theEnd, runnerSays(v1alpha1.ReasonLoopDetected)},
		{v1alpha1.ReasonEmptyResponse, theEnd, runnerSays(v1alpha1.ReasonEmptyResponse)},
		{v1alpha1.ReasonContextExhausted, theEnd, runnerSays(v1alpha1.ReasonContextExhausted)},
		{v1alpha1.ReasonModelUnavailable, theEnd, runnerSays(v1alpha1.ReasonModelUnavailable)},
		{v1alpha1.ReasonWorkspaceFailed, theEnd, runnerSays(v1alpha1.ReasonWorkspaceFailed)},
		{v1alpha1.ReasonCheckpointNotFound, "nothing: create another task, with a turn that there is", runnerSays(v1alpha1.ReasonCheckpointNotFound)},
		{v1alpha1.ReasonProtocolMismatch, "nothing: use an image of the operator's version in another task", runnerSays(v1alpha1.ReasonProtocolMismatch)},
		{v1alpha1.ReasonInternal, "nothing: report it, with the transcript", runnerSays(v1alpha1.ReasonInternal)},
		{v1alpha1.ReasonCancelled, theEnd, func(w *world) {
			asked(v1alpha1.TaskCancelled)(w)
			w.report("x", v1alpha1.ReasonCancelled)
		}},
		{v1alpha1.ReasonSandboxImageUnusable, "nothing: use another image in another task", waitingFor("sandbox", "RunContainerError", "exec /run/sampan-bin/agent-runner: exec format error")},
		{v1alpha1.ReasonPodLost, theEnd, func(w *world) {
			lastAttempt(w)
			w.lose("x-1")
		}},
		{v1alpha1.ReasonRunnerCrashed, theEnd, func(w *world) {
			lastAttempt(w)
			w.exit("x-1", 1, "")
		}},
		{v1alpha1.ReasonSandboxLost, theEnd, func(w *world) {
			lastAttempt(w)
			w.podStatus("x-1", func(st *corev1.PodStatus) { w.terminate(st, "sandbox", 1, "Error", "") })
			w.settle()
			w.pass(11 * time.Second)
		}},
		{v1alpha1.ReasonOOMKilled, "nothing: raise the memory limit in another task", func(w *world) {
			lastAttempt(w)
			w.podStatus("x-1", func(st *corev1.PodStatus) { w.terminate(st, "sandbox", 137, "OOMKilled", "") })
			w.settle()
			w.pass(11 * time.Second)
		}},
		{v1alpha1.ReasonStorageExceeded, "nothing: raise `workspace.sizeLimit` or the ephemeral-storage limit in another task", func(w *world) {
			lastAttempt(w)
			w.fail("x-1", "Evicted", `Usage of EmptyDir volume "workspace" exceeds the limit "1Gi".`)
		}},
		{v1alpha1.ReasonPodFailed, "nothing: fix what adds the container, and create another task", func(w *world) {
			w.create(objects.MakeTask("x").Attempts(1).Obj())
			w.settle()
			w.podStatus("x-1", func(st *corev1.PodStatus) {
				st.Phase = corev1.PodFailed
				st.InitContainerStatuses = []corev1.ContainerStatus{{Name: "mesh-init", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 7}}}}
			})
			w.settle()
			w.pass(11 * time.Second)
		}},
		{v1alpha1.ReasonRunnerSilent, "nothing: open the runner's way to the API server, and create another task", func(w *world) {
			w.silent = true
			lastAttempt(w)
			w.pass(5*time.Minute + time.Second)
		}},
		{v1alpha1.ReasonEvicted, theEnd, interrupted(func(w *world) {
			w.run("x-1")
			w.fail("x-1", "Evicted", "The node was low on resource: memory.")
		})},
		{v1alpha1.ReasonNodeLost, theEnd, interrupted(func(w *world) {
			w.run("x-1")
			w.fail("x-1", "NodeLost", "Node node which was running pod x-1 is unresponsive")
		})},
		{v1alpha1.ReasonNodeRejected, theEnd, interrupted(func(w *world) {
			w.fail("x-1", "OutOfcpu", "Node didn't have enough resource: cpu")
		})},
	}},
}

// notOfTasks are the reasons that no Succeeded of a task ever has.
var notOfTasks = []string{"Pending", "Resolved", "LastValidRegistry", "Ready", "PodPending", "PodFinished", "Interrupted", "Recorded", "NoRecord", "VerificationPending", "VerificationRejected", "Filling", "Updating", "Disabled", "BudgetAvailable"}

const situationsPage = "docs/situations.md"

const situationsIntro = `# Situations

The situations that a task can be in. The reason and the message are those of the condition Succeeded, here of a task
called x in the namespace default. A task that is *Reconciling* goes on by itself: the wait uses up no active time and ends
after a day, but that for a Budget does not. One that is *Stalled* and has not ended needs somebody to act, and waits as long as it may be active
(` + "`limits.activeSeconds`" + `). The event is written once, when the situation begins.

A test produces each row (` + "`test/integration/situations_test.go`" + `); with the flag ` + "`-update`" + ` it writes this page.
`

// row is what a task says, as a row of the page.
func (w *world) row(clears string) string {
	GinkgoHelper()
	t := w.task("x")
	c := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionSucceeded)
	condition := w.waitsBy("x")
	event := ""
	for _, line := range strings.Split(w.eventLog(), "\n") {
		if kind, rest, _ := strings.Cut(line, " "); strings.HasPrefix(rest, c.Reason+" ") {
			event = kind
		}
	}
	message := strings.NewReplacer(w.ns, "default", "|", `\|`, "<", "&lt;").Replace(c.Message)
	return fmt.Sprintf("| %s | %s | %s | %s | %s |", c.Reason, message, condition, event, clears)
}

var _ = Describe("The situations of a task", Ordered, func() {
	page := situationsIntro
	for _, stage := range stages {
		It("begin a table: "+stage.title, func() {
			page += "\n## " + stage.title + "\n\n| reason | message | condition | event | what clears it |\n| --- | --- | --- | --- | --- |\n"
		})
		for i, s := range stage.situations {
			It(fmt.Sprintf("are as the page says: %s (%s, %d)", s.reason, stage.title, i+1), func(ctx SpecContext) {
				w := newWorld(ctx)
				s.bring(w)
				row := w.row(s.clears)
				page += row + "\n"
				Expect(row).To(HavePrefix("| "+s.reason+" | "), row)
				ended := w.task("x").Status.CompletionTime != nil
				Expect(ended).To(Equal(stage.title == "At its end"), row)
				if !*update {
					text, err := os.ReadFile(filepath.Join(cluster.Root(), situationsPage))
					Expect(err).NotTo(HaveOccurred())
					Expect(strings.Split(string(text), "\n")).To(ContainElement(row), "if that is right, go test ./test/integration -update writes the page")
				}
			})
		}
	}

	It("are all on the page, and no others", func() {
		path := filepath.Join(cluster.Root(), situationsPage)
		if *update {
			Expect(os.WriteFile(path, []byte(page), 0o644)).To(Succeed())
		}
		text, err := os.ReadFile(path)
		Expect(err).NotTo(HaveOccurred())
		Expect(string(text)).To(Equal(page))
	})

	It("have every reason that the API has for them", func() {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(cluster.Root(), "api", "v1alpha1", "conditions.go"), nil, 0)
		Expect(err).NotTo(HaveOccurred())
		have := slices.Clone(notOfTasks)
		for _, stage := range stages {
			for _, s := range stage.situations {
				have = append(have, s.reason)
			}
		}
		reason := regexp.MustCompile(`^Reason[A-Z]`)
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && reason.MatchString(spec.Names[0].Name) {
				value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				Expect(err).NotTo(HaveOccurred())
				Expect(have).To(ContainElement(value))
			}
			return true
		})
	})
})
