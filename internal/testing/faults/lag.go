package faults

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// Cache serves the objects of some kinds in one namespace as they were a
// number of changes ago: an informer that lags. Other kinds are read live.
type Cache struct {
	Live      client.Client
	Namespace string
	// Behind is by how many changes a kind lags.
	Behind map[string]int
	// Index gives a field's values, where a List selects by one.
	Index map[string]client.IndexerFunc

	kinds map[string]*history
}

// history are the states of one kind, oldest first, and the one that is shown.
type history struct {
	list   client.ObjectList
	states []map[types.NamespacedName]client.Object
	shown  int
}

// Follow begins to lag for a kind.
func (c *Cache) Follow(ctx context.Context, kind string, list client.ObjectList) error {
	if c.kinds == nil {
		c.kinds = map[string]*history{}
	}
	c.kinds[kind] = &history{list: list}
	return c.Record(ctx)
}

// Record takes the state of the API server; call it after each change.
func (c *Cache) Record(ctx context.Context) error {
	for kind, h := range c.kinds {
		list := h.list.DeepCopyObject().(client.ObjectList)
		if err := c.Live.List(ctx, list, client.InNamespace(c.Namespace)); err != nil {
			return fmt.Errorf("listing %s: %w", kind, err)
		}
		state := map[types.NamespacedName]client.Object{}
		for _, obj := range items(list) {
			state[client.ObjectKeyFromObject(obj)] = obj
		}
		h.states = append(h.states, state)
		h.shown = max(h.shown, len(h.states)-1-c.Behind[kind])
	}
	return nil
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

// Client gives a client that reads from the cache and writes to the API server.
func (c *Cache) Client(live client.WithWatch) client.WithWatch {
	return interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, live client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			h, gvk, err := c.historyOf(obj)
			if err != nil || h == nil {
				return firstError(err, func() error { return live.Get(ctx, key, obj, opts...) })
			}
			found, ok := h.states[h.shown][key]
			if !ok {
				return apierrors.NewNotFound(schema.GroupResource{Group: gvk.Group, Resource: strings.ToLower(gvk.Kind) + "s"}, key.Name)
			}
			reflect.ValueOf(obj).Elem().Set(reflect.ValueOf(found.DeepCopyObject()).Elem())
			return nil
		},
		List: func(ctx context.Context, live client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			h, _, err := c.historyOf(list)
			if err != nil || h == nil {
				return firstError(err, func() error { return c.listLive(ctx, live, list, opts) })
			}
			c.list(h, list, opts)
			return nil
		},
	})
}

// listLive selects by an index that the API server does not have.
func (c *Cache) listLive(ctx context.Context, live client.Client, list client.ObjectList, opts []client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(opts)
	if err := live.List(ctx, list, client.InNamespace(o.Namespace)); err != nil {
		return err
	}
	state := map[types.NamespacedName]client.Object{}
	for _, obj := range items(list) {
		state[client.ObjectKeyFromObject(obj)] = obj.DeepCopyObject().(client.Object)
	}
	c.list(&history{states: []map[types.NamespacedName]client.Object{state}}, list, opts)
	return nil
}

func (c *Cache) list(h *history, list client.ObjectList, opts []client.ListOption) {
	var o client.ListOptions
	o.ApplyOptions(opts)
	out := reflect.ValueOf(list).Elem().FieldByName("Items")
	out.SetLen(0)
	for _, obj := range h.states[h.shown] {
		if o.Namespace != "" && obj.GetNamespace() != o.Namespace || !c.selected(obj, &o) {
			continue
		}
		out.Set(reflect.Append(out, reflect.ValueOf(obj.DeepCopyObject()).Elem()))
	}
}

// selected matches what a manager's cache would have an index for.
func (c *Cache) selected(obj client.Object, o *client.ListOptions) bool {
	if o.FieldSelector == nil {
		return true
	}
	for _, r := range o.FieldSelector.Requirements() {
		match := false
		for _, v := range c.Index[r.Field](obj) {
			match = match || v == r.Value
		}
		if !match {
			return false
		}
	}
	return true
}

func (c *Cache) historyOf(obj runtime.Object) (*history, schema.GroupVersionKind, error) {
	gvk, err := apiutil.GVKForObject(obj, c.Live.Scheme())
	return c.kinds[strings.TrimSuffix(gvk.Kind, "List")], gvk, err
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
