package inpod

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// A runner that is cut off gives up after three misses in a row; a refusal is
// an answer, and an answer in between starts the count again.
func TestKeepContact(t *testing.T) {
	broken := errors.New("dial tcp: i/o timeout")
	refused := apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("agenttasks").GroupResource(), "t", errors.New("no"))
	unknown := apierrors.NewUnauthorized("the token is not valid any more")
	for name, tc := range map[string]struct {
		answers []error
		lost    bool
	}{
		"always there":         {answers: []error{nil, nil, nil, nil, nil}},
		"refusals":             {answers: []error{refused, refused, refused, refused}},
		"back in time":         {answers: []error{broken, broken, nil, broken, broken}},
		"three in a row":       {answers: []error{nil, broken, broken, broken}, lost: true},
		"refusal in between":   {answers: []error{broken, broken, refused, broken, broken}},
		"token refused":        {answers: []error{unknown, broken, unknown}, lost: true},
		"token accepted again": {answers: []error{unknown, unknown, nil, unknown, unknown}},
		"gone from the start":  {answers: []error{broken, broken, broken}, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			ticks, done, asked := make(chan time.Time), make(chan struct{}), 0
			go func() {
				defer close(done)
				keepContact(ctx, func(context.Context) error { asked++; return tc.answers[asked-1] }, ticks, cancel)
			}()
			for range tc.answers {
				select {
				case ticks <- time.Time{}:
				case <-done:
				}
			}
			if !tc.lost {
				cancel(nil)
			}
			<-done
			if got := errors.Is(context.Cause(ctx), errCutOff); got != tc.lost {
				t.Errorf("cut off is %v, want %v", got, tc.lost)
			}
		})
	}
}
