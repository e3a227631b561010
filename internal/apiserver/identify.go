package apiserver

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

// runnerAccount is the ServiceAccount that runners have in every namespace.
const runnerAccount = "sampan-runner"

const (
	// knownFor is how long a runner that was identified is not asked about again.
	// It bounds how long the runner of an attempt that was given up may go on; two
	// writers are told apart by the store as well.
	knownFor = 10 * time.Second
	// maxKnown bounds how many are known at once.
	maxKnown = 4096
)

// tokenReviewer is asked whose a token is.
type tokenReviewer interface {
	Create(context.Context, *authenticationv1.TokenReview, metav1.CreateOptions) (*authenticationv1.TokenReview, error)
}

// identifier says who a runner is.
type identifier struct {
	tokens tokenReviewer
	tasks  client.Reader
	known  *cache.LRUExpireCache
	// retain is how long a record outlives its task.
	retain time.Duration
}

// newIdentifier gives one that remembers whom it has identified.
func newIdentifier(c clock.Clock) *identifier {
	return &identifier{known: cache.NewLRUExpireCacheWithClock(maxKnown, c)}
}

// place is the record that a request is about.
type place struct {
	record.Task
	name string
	// sandbox: it is that of a named Sandbox, not of a task.
	sandbox bool
}

// check refuses what is no place before anybody is asked about it.
func (p place) check() error {
	if problems := validation.IsDNS1123Label(p.Namespace); len(problems) > 0 {
		return refusal(wire.CodeInvalid, "the namespace is %.64q: %s", p.Namespace, problems[0])
	}
	if problems := validation.IsDNS1123Subdomain(p.name); len(problems) > 0 {
		return refusal(wire.CodeInvalid, "the name is %.64q: %s", p.name, problems[0])
	}
	if !uids.MatchString(p.UID) {
		return refusal(wire.CodeInvalid, "the UID is %.64q, which is none", p.UID)
	}
	return nil
}

// runner is one that may write to a record.
type runner struct {
	writer record.Writer
	info   record.Info
	// origin is what it may read besides; nil for nothing.
	origin *origin

	mu        sync.Mutex
	described bool
}

// describe keeps with the record whose it is, before the first write of a runner.
func (r *runner) describe(ctx context.Context, store Store, t record.Task) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.described {
		return nil
	}
	if err := store.Describe(ctx, t, r.info); err != nil {
		return err
	}
	r.described = true
	return nil
}

type knownKey struct {
	token [sha256.Size]byte
	place place
}

// identify gives the runner whose token a request has, if it is the one of the task.
func (i *identifier) identify(ctx context.Context, req *http.Request, p place) (*runner, error) {
	token, err := bearer(req)
	if err != nil {
		return nil, err
	}
	key := knownKey{token: sha256.Sum256([]byte(token)), place: p}
	if known, ok := i.known.Get(key); ok {
		return known.(*runner), nil
	}
	pod, err := i.pod(ctx, token, p.Namespace)
	if err != nil {
		return nil, err
	}
	find := i.ofTask
	if p.sandbox {
		find = i.ofSandbox
	}
	r, err := find(ctx, pod, p)
	if err != nil {
		return nil, err
	}
	i.known.Add(key, r, knownFor)
	return r, nil
}

// bearer is the token that a request has.
func bearer(req *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", refusal(wire.CodeUnauthorized, "the request has no bearer token")
	}
	return token, nil
}

// review gives the user whose token it is, if it is one for an audience.
func review(ctx context.Context, tokens tokenReviewer, token, audience string) (authenticationv1.UserInfo, error) {
	answer, err := tokens.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("%w: the API server does not review the token: %w", record.ErrUnavailable, err)
	}
	if !answer.Status.Authenticated || !slices.Contains(answer.Status.Audiences, audience) {
		return authenticationv1.UserInfo{}, refusal(wire.CodeUnauthorized, "the token has run out, or is none for the audience %s", audience)
	}
	return answer.Status.User, nil
}

// podIdentity is a pod as the API server says it of a token that is bound to it.
type podIdentity struct{ name, uid string }

// pod gives the pod of a runner in a namespace whose token it is.
func (i *identifier) pod(ctx context.Context, token, namespace string) (podIdentity, error) {
	user, err := review(ctx, i.tokens, token, wire.Audience)
	if err != nil {
		return podIdentity{}, err
	}
	if want := serviceaccount.MakeUsername(namespace, runnerAccount); user.Username != want {
		return podIdentity{}, refusal(wire.CodeForbidden, "the token is not that of %s", want)
	}
	names, uids := user.Extra[serviceaccount.PodNameKey], user.Extra[serviceaccount.PodUIDKey]
	if len(names) != 1 || len(uids) != 1 || names[0] == "" || uids[0] == "" {
		return podIdentity{}, refusal(wire.CodeForbidden, "the token is not bound to a pod")
	}
	return podIdentity{name: names[0], uid: uids[0]}, nil
}

// ofTask gives the runner in a pod, if a task's present attempt runs there. The rule is
// that of the admission policy sampan-runner-status.
func (i *identifier) ofTask(ctx context.Context, pod podIdentity, p place) (*runner, error) {
	var task v1alpha1.AgentTask
	err := i.tasks.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: p.name}, &task)
	switch status := &task.Status; {
	case apierrors.IsNotFound(err):
		return nil, refusal(wire.CodeFenced, "AgentTask %s is gone", p.name)
	case err != nil:
		return nil, fmt.Errorf("%w: reading AgentTask %s: %w", record.ErrUnavailable, p.name, err)
	case string(task.UID) != p.UID:
		return nil, refusal(wire.CodeFenced, "AgentTask %s has the UID %s now, not %s", p.name, task.UID, p.UID)
	case status.PodName != pod.name:
		return nil, refusal(wire.CodeFenced, "AgentTask %s is not run by the pod %s; status.podName is %q", p.name, pod.name, status.PodName)
	case status.PodUID != "" && status.PodUID != pod.uid:
		return nil, refusal(wire.CodeFenced, "AgentTask %s is run by another pod of the name %s", p.name, pod.name)
	case ended(&task):
		return nil, refusal(wire.CodeFenced, "AgentTask %s has ended", p.name)
	}
	return &runner{
		writer: record.Writer{Attempt: task.Status.Attempt, PodUID: pod.uid}, origin: originOf(&task),
		info: infoOf(&task, i.retain),
	}, nil
}

// ofSandbox gives the runner in a pod, if it is that of a named Sandbox whose workspace is
// kept.
func (i *identifier) ofSandbox(ctx context.Context, pod podIdentity, p place) (*runner, error) {
	sb, err := sandboxOf(ctx, i.tasks, pod, p)
	if err != nil {
		return nil, err
	}
	switch {
	case sb.Status.PodUID != pod.uid:
		return nil, refusal(wire.CodeFenced, "status.podUID of Sandbox %s is %q", p.name, sb.Status.PodUID)
	case !podapi.Kept(sb):
		return nil, refusal(wire.CodeForbidden, "the workspace of Sandbox %s is not kept: it is a task's, or Persistent", p.name)
	}
	number := int32(1)
	if sb.Status.Restarts != nil {
		number += *sb.Status.Restarts
	}
	return &runner{
		writer: record.Writer{Attempt: number, PodUID: pod.uid},
		info:   record.Info{Name: sb.Name, Kind: record.KindSandbox, Created: sb.CreationTimestamp.UTC()},
	}, nil
}

// sandboxOf gives the Sandbox of a place, if a pod is its own.
func sandboxOf(ctx context.Context, sandboxes client.Reader, pod podIdentity, p place) (*v1alpha1.Sandbox, error) {
	var sb v1alpha1.Sandbox
	err := sandboxes.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: p.name}, &sb)
	switch status := &sb.Status; {
	case apierrors.IsNotFound(err):
		return nil, refusal(wire.CodeFenced, "Sandbox %s is gone", p.name)
	case err != nil:
		return nil, fmt.Errorf("%w: reading Sandbox %s: %w", record.ErrUnavailable, p.name, err)
	case string(sb.UID) != p.UID:
		return nil, refusal(wire.CodeFenced, "Sandbox %s has the UID %s now, not %s", p.name, sb.UID, p.UID)
	case status.PodName != pod.name, status.PodUID != "" && status.PodUID != pod.uid:
		return nil, refusal(wire.CodeFenced, "the pod of Sandbox %s is another one: status.podName is %q", p.name, status.PodName)
	}
	return &sb, nil
}

// refused is an answer that says no.
type refused struct{ wire.Problem }

func (r *refused) Error() string { return r.Message }

func refusal(code wire.Code, format string, args ...any) error {
	return &refused{wire.Problem{Code: code, Message: fmt.Sprintf(format, args...)}}
}
