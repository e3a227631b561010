package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sync/semaphore"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record"
)

// maxStreams bounds how many transcripts and outputs are read at once.
const maxStreams = 128

// people is what is read for people. Whoever it is for may read it of a task of that
// name: the Front has seen to that.
type people struct {
	records
	clock   clock.Clock
	streams *semaphore.Weighted
	room    *room
	// lookInterval is how long nothing is written to a log that is followed until it
	// is asked whether the task has ended.
	lookInterval time.Duration
	// stopping ends when the server does.
	stopping context.Context
}

// records finds records.
type records struct {
	store *lazyStore
	tasks client.Reader
}

// subject is a record that somebody wants to read.
type subject struct {
	store Store
	task  record.Task
	// live: the task is still there.
	live bool
}

// find gives the record that a request is about.
func (p *people) find(ctx context.Context, name, uid string) (*subject, error) {
	s, err := p.records.find(ctx, request.NamespaceValue(ctx), name, uid)
	if err != nil {
		return nil, asStatus(err)
	}
	return s, nil
}

// find gives the record of the task that has a name now or, by its UID, of one that
// had it and whose record is kept.
func (r *records) find(ctx context.Context, namespace, name, uid string) (*subject, error) {
	var task v1alpha1.AgentTask
	err := r.tasks.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &task)
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("%w: looking for AgentTask %s/%s: %w", record.ErrUnavailable, namespace, name, err)
	case err != nil && uid == "":
		return nil, notFound("there is no AgentTask %s in namespace %s; if it was deleted and its record is kept, name it with the parameter uid", name, namespace)
	case err == nil && (uid == "" || uid == string(task.UID)):
		uid = string(task.UID)
	}
	s := &subject{task: record.Task{Namespace: namespace, UID: uid}, live: err == nil && uid == string(task.UID)}
	if s.store, err = r.store.get(); err != nil {
		return nil, err
	}
	if s.live {
		return s, nil
	}
	// A right may be for some names only, so an UID does not do without its name.
	kept, err := s.store.Info(ctx, s.task)
	switch {
	case errors.Is(err, record.ErrNotFound), err == nil && (kept.Name != name || kept.Kind != ""): // that of a Sandbox is nobody's to read
		return nil, notFound("no record is kept of an AgentTask %s in namespace %s that had the UID %s", name, namespace, uid)
	case err != nil:
		return nil, err
	}
	return s, nil
}

// over reports that nothing will be written any more to the record of a task.
func (p *people) over(ctx context.Context, name string, t record.Task) (bool, error) {
	var task v1alpha1.AgentTask
	err := p.tasks.Get(ctx, client.ObjectKey{Namespace: t.Namespace, Name: name}, &task)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for AgentTask %s/%s: %w", t.Namespace, name, err)
	}
	return string(task.UID) != t.UID || ended(&task), nil
}

// reader answers a request for what a record has of a task; it gives an error as long as
// nothing was written.
type reader func(ctx context.Context, name string, w http.ResponseWriter, req *http.Request) error
