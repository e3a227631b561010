package harness

import "context"

// awaitFor gives what arrives on done, or false when ctx ended and nothing came
// in the grace that follows. Whoever sends must not block (a buffer of one).
func awaitFor[T any](ctx context.Context, clock Clock, done <-chan T) (T, bool) {
	select {
	case v := <-done:
		return v, true
	case <-ctx.Done():
	}
	late := make(chan struct{})
	stop := clock.AfterFunc(grace, func() { close(late) })
	defer stop()
	select {
	case v := <-done:
		return v, true
	case <-late:
		var zero T
		return zero, false
	}
}
