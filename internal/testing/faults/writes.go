// Package faults makes clients that behave as a network, a crash or a cache
// that lags would make them.
package faults

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// ErrInjected is what a write fails with.
var ErrInjected = errors.New("injected failure")

// Mode says how a write fails.
type Mode int

// The ways to fail.
const (
	// Refused: the write is not done, and fails.
	Refused Mode = iota
	// Unheard: the write is done, and fails all the same, as when the answer is lost.
	Unheard
	// Crash: the write is done, and nothing after it is.
	Crash
)

// Writes fails one of the writes that go through its client.
type Writes struct {
	Mode Mode
	// FailAt is the number, from 1, of the write that fails; 0 fails none.
	FailAt int
	// FailOften fails each create of an object once, and every other write to it.
	FailOften bool
	// FailIf says before each write whether, and how, that one fails; nil fails none.
	FailIf func() (Mode, bool)
	// After is called after each write that was done.
	After func(verb string, obj client.Object)
	// Log has what was written, for a test's message.
	Log []string

	count   int
	done    int
	crashed bool
	tries   map[string]int
}

// Hit reports whether the write to fail was reached.
func (w *Writes) Hit() bool { return w.FailAt > 0 && w.count >= w.FailAt }

// Done is how many writes have changed something.
func (w *Writes) Done() int { return w.done }

// Crashed reports whether a client stands dead until Restart.
func (w *Writes) Crashed() bool { return w.crashed }

// Restart lets writes through again, as a new process would.
func (w *Writes) Restart() { w.crashed = false }

// do counts a write, and does it or not.
func (w *Writes) do(verb string, obj client.Object, write func() error) error {
	if w.crashed {
		return fmt.Errorf("the process is dead: %w", ErrInjected)
	}
	w.count++
	w.Log = append(w.Log, fmt.Sprintf("%d %s %T %s", w.count, verb, obj, obj.GetName()))
	mode, failing := w.Mode, w.count == w.FailAt || w.FailOften && w.turn(verb, obj)
	if w.FailIf != nil {
		mode, failing = w.FailIf()
	}
	if failing && mode == Refused {
		return ErrInjected
	}
	err := write()
	if err == nil {
		w.done++
		if w.After != nil {
			w.After(verb, obj)
		}
	}
	if !failing {
		return err
	}
	w.crashed = mode == Crash
	return errors.Join(ErrInjected, err)
}

// turn reports whether it is a write's turn to fail. Creates fail once only: they
// are repeated whenever what comes after them fails.
func (w *Writes) turn(verb string, obj client.Object) bool {
	if w.tries == nil {
		w.tries = map[string]int{}
	}
	key := fmt.Sprintf("%s %T %s", verb, obj, obj.GetName())
	w.tries[key]++
	return w.tries[key] == 1 || verb != "create" && w.tries[key]%2 == 1
}

// Client gives a client whose writes are counted.
func (w *Writes) Client(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			return w.do("create", obj, func() error { return c.Create(ctx, obj, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return w.do("update", obj, func() error { return c.Update(ctx, obj, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return w.do("patch", obj, func() error { return c.Patch(ctx, obj, patch, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			return w.do("delete", obj, func() error { return c.Delete(ctx, obj, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return w.do("patch "+sub, obj, func() error { return c.SubResource(sub).Patch(ctx, obj, patch, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			return w.do("update "+sub, obj, func() error { return c.SubResource(sub).Update(ctx, obj, opts...) })
		},
	})
}
