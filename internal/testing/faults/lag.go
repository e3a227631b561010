package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// Cache has the objects of some kinds in one namespace, as an informer does that may
// lag by a number of changes. It follows what is written through its Writer, so
// nobody else may write there. Other kinds are read live. It is not safe for
// concurrent use.
type Cache struct {
	Live      client.Client
	Namespace string
	// Behind is by how many changes a kind lags.
	Behind map[string]int
	// Holds says of an object whether the cache has it, as one that selects by a label
	// does; nil is for all.
	Holds func(client.Object) bool
	// Index gives a field's values, where a List selects by one.
	Index map[string]client.IndexerFunc

	kinds map[string]*history
}

// history are the states of one kind, oldest first, and the one that is shown.
type history struct {
	list   client.ObjectList
	states []state
	shown  int
}

type state map[types.NamespacedName]client.Object

// Follow begins to follow the kinds of some lists, of which the namespace has none yet.
func (c *Cache) Follow(lists ...client.ObjectList) error {
	if c.kinds == nil {
		c.kinds = map[string]*history{}
	}
	for _, list := range lists {
		kind, err := c.kind(list)
		if err != nil {
			return err
		}
		c.kinds[kind] = &history{list: list, states: []state{{}}}
	}
	return nil
}

// Freeze gives a cache in which some kinds stay as they are now.
func (c *Cache) Freeze(kinds ...string) *Cache {
	frozen := *c
	frozen.kinds = map[string]*history{}
	for kind, h := range c.kinds {
		if slices.Contains(kinds, kind) {
			h = &history{list: h.list, states: []state{h.newest()}}
		}
		frozen.kinds[kind] = h
	}
	return &frozen
}

// Refresh takes in that an object was written, and reads it.
func (c *Cache) Refresh(ctx context.Context, kind string, key types.NamespacedName) error {
	h := c.kinds[kind]
	if h == nil || key.Namespace != c.Namespace {
		return nil
	}
	found := reflect.New(h.item()).Interface().(client.Object)
	err := c.Live.Get(ctx, key, found)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading %s %s: %w", kind, key.Name, err)
	}
	next := maps.Clone(h.newest())
	if next[key] = untyped(found); err != nil {
		delete(next, key)
	}
	c.add(kind, next)
	return nil
}

// wrote takes in an object as the API server has answered. Where it may have gone
// with the write it is looked for.
func (c *Cache) wrote(ctx context.Context, obj client.Object) error {
	kind, err := c.kind(obj)
	if err != nil {
		return err
	}
	h, key := c.kinds[kind], client.ObjectKeyFromObject(obj)
	if h == nil || key.Namespace != c.Namespace || reflect.TypeOf(obj).Elem() != h.item() || obj.GetDeletionTimestamp() != nil {
		return c.Refresh(ctx, kind, key)
	}
	next := maps.Clone(h.newest())
	next[key] = untyped(obj.DeepCopyObject().(client.Object))
	c.add(kind, next)
	return nil
}

// add makes a state the newest of its kind. A change is one of the whole namespace, so
// that kinds lag by the same time.
func (c *Cache) add(kind string, next state) {
	for k, h := range c.kinds {
		now := h.newest()
		if k == kind {
			now = next
		}
		h.states = append(h.states, now)
		h.shown = max(h.shown, len(h.states)-1-c.Behind[k])
	}
}

// Check compares the newest state with the API server's.
func (c *Cache) Check(ctx context.Context) error {
	var errs []error
	for kind, h := range c.kinds {
		now, err := c.read(ctx, h.list)
		if err != nil {
			return err
		}
		if have := h.newest(); !equality.Semantic.DeepEqual(have, now) {
			errs = append(errs, fmt.Errorf("the cache does not have every write to %s: it has %v, the API server %v", kind, have, now))
		}
	}
	return errors.Join(errs...)
}

// Advance shows one change more of each kind and reports whether there was one.
func (c *Cache) Advance() bool {
	moved := false
	for _, h := range c.kinds {
		if h.shown < len(h.states)-1 {
			h.shown++
			moved = true
		}
	}
	return moved
}

// Newest reads a list without any lag, in the order of names.
func (c *Cache) Newest(list client.ObjectList) error {
	kind, err := c.kind(list)
	if err != nil {
		return err
	}
	h := c.kinds[kind]
	if h == nil {
		return fmt.Errorf("the cache does not follow %s", kind)
	}
	c.list(h.newest(), list, nil)
	return nil
}

// Client gives a client that reads from the cache and writes to the API server.
func (c *Cache) Client(live client.WithWatch) client.WithWatch {
	return interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, live client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			h, err := c.historyOf(obj, key.Namespace)
			if err != nil || h == nil {
				return firstError(err, func() error { return live.Get(ctx, key, obj, opts...) })
			}
			found, ok := h.states[h.shown][key]
			if !ok || c.Holds != nil && !c.Holds(found) {
				return apierrors.NewNotFound(schema.GroupResource{Resource: strings.ToLower(reflect.TypeOf(obj).Elem().Name()) + "s"}, key.Name)
			}
			reflect.ValueOf(obj).Elem().Set(reflect.ValueOf(found.DeepCopyObject()).Elem())
			return nil
		},
		List: func(ctx context.Context, live client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			var o client.ListOptions
			o.ApplyOptions(opts)
			namespace := o.Namespace
			if namespace == "" { // a controller looks at all, a test has but its own
				namespace = c.Namespace
			}
			h, err := c.historyOf(list, namespace)
			if err != nil || h == nil {
				return firstError(err, func() error { return live.List(ctx, list, opts...) })
			}
			c.list(h.states[h.shown], list, &o)
			return nil
		},
	})
}

// Writer gives a client whose writes the cache takes in.
func (c *Cache) Writer(live client.WithWatch) client.WithWatch {
	wrote := func(ctx context.Context, obj client.Object, err error) error {
		if err != nil {
			return err
		}
		return c.wrote(ctx, obj)
	}
	changed := func(ctx context.Context, obj client.Object, err error) error {
		if err != nil {
			return err
		}
		kind, err := c.kind(obj)
		if err != nil {
			return err
		}
		return c.Refresh(ctx, kind, client.ObjectKeyFromObject(obj))
	}
	return interceptor.NewClient(live, interceptor.Funcs{
		Create: func(ctx context.Context, live client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			return wrote(ctx, obj, live.Create(ctx, obj, opts...))
		},
		Update: func(ctx context.Context, live client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return wrote(ctx, obj, live.Update(ctx, obj, opts...))
		},
		Patch: func(ctx context.Context, live client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return wrote(ctx, obj, live.Patch(ctx, obj, patch, opts...))
		},
		Delete: func(ctx context.Context, live client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			return changed(ctx, obj, live.Delete(ctx, obj, opts...))
		},
		SubResourceCreate: func(ctx context.Context, live client.Client, sub string, obj, subResource client.Object, opts ...client.SubResourceCreateOption) error {
			return changed(ctx, obj, live.SubResource(sub).Create(ctx, obj, subResource, opts...))
		},
		SubResourceUpdate: func(ctx context.Context, live client.Client, sub string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			return wrote(ctx, obj, live.SubResource(sub).Update(ctx, obj, opts...))
		},
		SubResourcePatch: func(ctx context.Context, live client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return wrote(ctx, obj, live.SubResource(sub).Patch(ctx, obj, patch, opts...))
		},
	})
}

func (h *history) item() reflect.Type {
	items, _ := reflect.TypeOf(h.list).Elem().FieldByName("Items")
	return items.Type.Elem()
}

func (h *history) newest() state { return h.states[len(h.states)-1] }

// read takes the state of the API server.
func (c *Cache) read(ctx context.Context, list client.ObjectList) (state, error) {
	list = list.DeepCopyObject().(client.ObjectList)
	if err := c.Live.List(ctx, list, client.InNamespace(c.Namespace)); err != nil {
		return nil, fmt.Errorf("listing %T: %w", list, err)
	}
	now := state{}
	for _, obj := range items(list) {
		now[client.ObjectKeyFromObject(obj)] = untyped(obj)
	}
	return now, nil
}

func (c *Cache) list(from state, list client.ObjectList, o *client.ListOptions) {
	var found []client.Object
	for _, obj := range from {
		if c.selected(obj, o) {
			found = append(found, obj)
		}
	}
	if o == nil {
		slices.SortFunc(found, func(a, b client.Object) int { return strings.Compare(a.GetName(), b.GetName()) })
	}
	out := reflect.ValueOf(list).Elem().FieldByName("Items")
	out.SetLen(0)
	for _, obj := range found {
		out.Set(reflect.Append(out, reflect.ValueOf(obj.DeepCopyObject()).Elem()))
	}
}

// selected matches what a manager's cache would have an index for.
func (c *Cache) selected(obj client.Object, o *client.ListOptions) bool {
	switch {
	case o == nil: // the test's own look
		return true
	case c.Holds != nil && !c.Holds(obj):
		return false
	case o.FieldSelector == nil:
		return true
	}
	for _, r := range o.FieldSelector.Requirements() {
		if !slices.Contains(c.Index[r.Field](obj), r.Value) {
			return false
		}
	}
	return true
}

// historyOf is that of an object's or a list's kind in the namespace, or nil.
func (c *Cache) historyOf(obj runtime.Object, namespace string) (*history, error) {
	if namespace != c.Namespace {
		return nil, nil
	}
	kind, err := c.kind(obj)
	return c.kinds[kind], err
}

// kind is an object's, or that of a list's items.
func (c *Cache) kind(obj runtime.Object) (string, error) {
	gvk, err := apiutil.GVKForObject(obj, c.Live.Scheme())
	return strings.TrimSuffix(gvk.Kind, "List"), err
}

// untyped takes off the kind, which is there or not as an object was decoded.
func untyped(obj client.Object) client.Object {
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	return obj
}

func items(list client.ObjectList) []client.Object {
	v := reflect.ValueOf(list).Elem().FieldByName("Items")
	out := make([]client.Object, v.Len())
	for i := range out {
		out[i] = v.Index(i).Addr().Interface().(client.Object)
	}
	return out
}

func firstError(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}
