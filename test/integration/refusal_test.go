package integration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// refuse lets creates of a kind fail while it gives an error.
func (w *world) refuse(kind string, answer func() error) {
	c := interceptor.NewClient(w.tasks.Client.(client.WithWatch), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if err := answer(); err != nil && strings.HasSuffix(fmt.Sprintf("%T", obj), "."+kind) {
				return err
			}
			return c.Create(ctx, obj, opts...)
		},
	})
	w.tasks.Client, w.sandboxes.Client = c, c
}

// answered is what an API server says, with a status code.
func answered(code int32, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}}
}

// refusals are what the API server may say to a create, and whether it passes.
var refusals = map[string]struct {
	err     error
	message string
	passes  bool
}{
	"400":             {answered(http.StatusBadRequest, metav1.StatusReasonBadRequest, "the body is odd"), "the body is odd", false},
	"403":             {apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "x", fmt.Errorf("a policy says no")), `things "x" is forbidden: a policy says no`, false},
	"403 of a quota":  {apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "x", fmt.Errorf("exceeded quota: q, requested: 1")), `things "x" is forbidden: exceeded quota: q, requested: 1`, true},
	"404":             {answered(http.StatusNotFound, metav1.StatusReasonNotFound, `priorityclass "high" was not found`), `priorityclass "high" was not found`, false},
	"409":             {answered(http.StatusConflict, metav1.StatusReasonConflict, "resourcequotas: the object has been modified"), "resourcequotas: the object has been modified", true},
	"413":             {answered(http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge, "the request is too large"), "the request is too large", false},
	"422":             {answered(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "spec.containers: wrong"), "spec.containers: wrong", false},
	"429":             {apierrors.NewTooManyRequests("too much is asked", 1), "too much is asked", true},
	"500":             {answered(http.StatusInternalServerError, metav1.StatusReasonInternalError, "failed calling webhook \"w\""), "failed calling webhook \"w\"", true},
	"503":             {answered(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "the server is away"), "the server is away", true},
	"504":             {apierrors.NewTimeoutError("the server took too long", 1), "Timeout: the server took too long", true},
	"nothing in time": {fmt.Errorf("post: %w", context.DeadlineExceeded), "The API server did not answer in time", true},
	"without a word":  {answered(http.StatusForbidden, metav1.StatusReasonForbidden, ""), "The API server answered Forbidden", false},
}

var _ = Describe("What the API server refuses", func() {
	for name, refusal := range refusals {
		for kind, reason := range map[string]string{"Pod": v1alpha1.ReasonPodRefused, "Sandbox": v1alpha1.ReasonSandboxRefused} {
			if name == "403 of a quota" {
				reason = v1alpha1.ReasonQuotaExceeded
			}
			It(fmt.Sprintf("is told, tried again after pauses that grow, and mends itself: a %s, %s", kind, name), func(ctx SpecContext) {
				w := newWorld(ctx)
				answer := refusal.err
				w.refuse(kind, func() error { return answer })
				w.create(objects.MakeTask("x").Obj())
				w.settle()
				Expect(w.stands("x")).To(Equal("Unknown " + reason))
				Expect(w.saysOfTask("x")).To(Equal(refusal.message))
				conditions := w.task("x").Status.Conditions
				Expect(meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionStalled)).To(Equal(!refusal.passes))
				Expect(meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReconciling)).To(Equal(refusal.passes))
				if kind == "Pod" {
					Expect(w.ready("x")).To(Equal("False " + reason))
				}
				event := "Warning "
				if refusal.passes {
					event = "Normal "
				}
				Expect(strings.Count(w.eventLog(), event+reason)).To(Equal(1), "it is one event, however often it is tried")

				pauses := []time.Duration{w.pause(kind)}
				for range 5 {
					w.pass(pauses[len(pauses)-1])
					pauses = append(pauses, w.pause(kind))
				}
				longest := 5 * time.Minute
				if reason == v1alpha1.ReasonQuotaExceeded {
					longest = 30 * time.Second
				}
				Expect(slices.IsSorted(pauses)).To(BeTrue(), "%v", pauses)
				Expect(pauses[0]).To(Equal(5 * time.Second))
				Expect(pauses[5]).To(And(BeNumerically(">=", min(time.Minute, longest)), BeNumerically("<=", longest)))
				Expect(w.stands("x")).To(Equal("Unknown " + reason))
				Expect(w.task("x").Status.Attempts).To(BeEmpty(), "nothing was lost")
				Expect(w.eventLog()).To(BeEmpty())

				answer = nil
				w.pass(pauses[len(pauses)-1])
				Expect(w.stands("x")).To(starting)
				w.run("x-1")
				Expect(w.stands("x")).To(Equal("Unknown Running"))
				Expect(meta.FindStatusCondition(w.task("x").Status.Conditions, v1alpha1.ConditionStalled)).To(BeNil())
			})
		}
	}

	It("is told of a named Sandbox's pod, too", func(ctx SpecContext) {
		w := newWorld(ctx)
		answer := refusals["422"].err
		w.refuse("Pod", func() error { return answer })
		w.create(objects.MakeSandbox("dev").Obj(), objects.MakeTask("x").In("dev").Obj())
		w.settle()
		Expect(w.ready("dev")).To(Equal("False PodRefused"))
		Expect(w.stands("x")).To(Equal("Unknown PodRefused"))
		Expect(w.saysOfTask("x")).To(Equal("spec.containers: wrong"))
		answer = nil
		w.settle()
		w.run("dev-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("ends a task whose user has not mended it in the task's time", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.refuse("Pod", func() error { return refusals["422"].err })
		w.create(objects.MakeTask("x").Active(600).Obj())
		w.settle()
		w.pass(9 * time.Minute)
		Expect(w.stands("x")).To(Equal("Unknown PodRefused"))
		w.pass(2 * time.Minute)
		Expect(w.stands("x")).To(Equal("False DeadlineExceeded"))
		Expect(w.saysOfTask("x")).To(ContainSubstring("spec.containers: wrong"))
		Expect(w.made["v1.Pod"]).To(BeEmpty())
	})

	It("costs no active time while it passes, and is bounded by a day", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.refuse("Pod", func() error { return refusals["503"].err })
		w.create(objects.MakeTask("x").Active(60).Obj())
		w.settle()
		w.pass(23 * time.Hour)
		Expect(w.stands("x")).To(Equal("Unknown PodRefused"))
		w.pass(2 * time.Hour)
		Expect(w.stands("x")).To(Equal("False DeadlineExceeded"))
	})
})

// pause is when the controller that is refused a create tries again.
func (w *world) pause(kind string) time.Duration {
	GinkgoHelper()
	do, obj := w.sandboxes.Reconcile, client.Object(objects.MakeTask("x").Namespace(w.ns).Obj())
	if kind == "Sandbox" {
		do = w.tasks.Reconcile
	}
	again, err := do(w.ctx, request(obj))
	Expect(err).NotTo(HaveOccurred())
	Expect(again.RequeueAfter).To(BeNumerically(">", 0))
	return again.RequeueAfter
}
