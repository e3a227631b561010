package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// errNoAnswer says that a call had not returned some time after its ctx ended.
var errNoAnswer = errors.New("it did not return after it was told to stop")

// panicked is the error of a call that panicked.
type panicked struct {
	value any
	stack string
}

func (p *panicked) Error() string { return fmt.Sprintf("it failed: %v", p.value) }

// await calls what we do not trust to return, and returns itself soon after ctx
// ends: with errNoAnswer if the call has not returned in the grace that follows.
// A panic of the call is a *panicked.
func await[T any](ctx context.Context, clock Clock, call func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if v := recover(); v != nil {
				a = answer{err: &panicked{v, string(debug.Stack())}}
			}
			done <- a
		}()
		a.value, a.err = call()
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
	}
	late := make(chan struct{})
	stop := clock.AfterFunc(grace, func() { close(late) })
	defer stop()
	select {
	case a := <-done:
		return a.value, a.err
	case <-late:
		return *new(T), errNoAnswer
	}
}
