package apiserver

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record"
)

const (
	sweepInterval = 5 * time.Minute
	sweepDeadline = time.Hour
	askDeadline   = 10 * time.Second
)

// sweeper deletes the records of tasks that are gone. Several replicas may do so at once.
type sweeper struct {
	store *lazyStore
	tasks client.Reader
	clock clock.Clock
	// retain is how long a record outlives its task that does not say so itself.
	retain time.Duration
}

// run sweeps until ctx ends.
func (s *sweeper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.clock.After(sweepInterval):
		}
		s.sweep(ctx)
	}
}

func (s *sweeper) sweep(ctx context.Context) {
	log := klog.FromContext(ctx)
	store, err := s.store.get()
	if err != nil {
		log.Error(err, "The records cannot be swept. It is tried again.")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sweepDeadline)
	defer cancel()
	swept, err := store.Sweep(ctx, func(t record.Task, i record.Info) bool { return s.keep(ctx, store, t, i) })
	if err != nil {
		log.Error(err, "The records were not swept whole. It is tried again.", "swept", swept)
		return
	}
	log.Info("Swept the records", "swept", swept)
}

// keep reports whether a record stays: its task is there, or is not gone for longer
// than the record is to outlive it. When in doubt it stays.
func (s *sweeper) keep(ctx context.Context, store Store, t record.Task, info record.Info) bool {
	if info.Name == "" {
		return s.keepNameless(ctx, store, t)
	}
	ctx, cancel := context.WithTimeout(ctx, askDeadline)
	defer cancel()
	owner := ownerOf(info)
	err := s.tasks.Get(ctx, client.ObjectKey{Namespace: t.Namespace, Name: info.Name}, owner)
	if err != nil && !apierrors.IsNotFound(err) {
		klog.FromContext(ctx).Error(err, "It is unknown whether the owner of a record is gone. Its record stays.", "namespace", t.Namespace, "name", info.Name)
		return true
	}
	if err == nil && string(owner.GetUID()) == t.UID {
		return true
	}
	now, retain := s.clock.Now(), time.Duration(info.RetainSeconds)*time.Second
	if info.Ended != nil || retain <= 0 {
		return info.Ended != nil && now.Before(info.Ended.Add(retain))
	}
	// From now on it is known to be gone.
	info.Ended = &now
	if err := store.Describe(ctx, t, info); err != nil {
		klog.FromContext(ctx).Error(err, "It cannot be kept when a task was gone. Its record stays.", "namespace", t.Namespace, "task", info.Name)
	}
	return true
}

// ownerOf is an empty object of the kind that a record belongs to.
func ownerOf(info record.Info) client.Object {
	if info.Kind == record.KindSandbox {
		return &v1alpha1.Sandbox{}
	}
	return &v1alpha1.AgentTask{}
}

// tasksPage is how many tasks are listed at a time.
const tasksPage = 500

// keepNameless is keep for a record that does not know whose it is: it may belong to any
// task or Sandbox of the namespace. One that is there is noted down again.
func (s *sweeper) keepNameless(ctx context.Context, store Store, t record.Task) bool {
	ctx, cancel := context.WithTimeout(ctx, askDeadline)
	defer cancel()
	log := klog.FromContext(ctx).WithValues("namespace", t.Namespace, "uid", t.UID)
	for _, kind := range []string{"AgentTask", record.KindSandbox} {
		name, err := s.nameOf(ctx, kind, t)
		switch {
		case err != nil:
			log.Error(err, "It is unknown whose record this is. It stays.")
			return true
		case name != "" && kind == record.KindSandbox: // its runner notes it down when it next writes
			return true
		case name != "":
			s.describe(ctx, store, t, name)
			return true
		}
	}
	log.Info("Nobody is left whose record this is. It is deleted.")
	return false
}

// nameOf gives the name of the object of a kind that has the UID of a record; empty
// without one.
func (s *sweeper) nameOf(ctx context.Context, kind string, t record.Task) (string, error) {
	page := &metav1.PartialObjectMetadataList{}
	page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
	for {
		if err := s.tasks.List(ctx, page, client.InNamespace(t.Namespace), client.Limit(tasksPage), client.Continue(page.Continue)); err != nil {
			return "", err
		}
		i := slices.IndexFunc(page.Items, func(o metav1.PartialObjectMetadata) bool { return string(o.UID) == t.UID })
		if i >= 0 {
			return page.Items[i].Name, nil
		}
		if page.Continue == "" {
			return "", nil
		}
	}
}

// describe notes down whose a record is.
func (s *sweeper) describe(ctx context.Context, store Store, t record.Task, name string) {
	var task v1alpha1.AgentTask
	err := s.tasks.Get(ctx, client.ObjectKey{Namespace: t.Namespace, Name: name}, &task)
	if err == nil && string(task.UID) == t.UID {
		err = store.Describe(ctx, t, infoOf(&task, s.retain))
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "A record cannot be told whose it is. It stays.", "namespace", t.Namespace, "task", name)
	}
}
