package inpod

import (
	"errors"
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// Nobody is let in beside Separate verifications, and none are run without a checkpoint.
func TestAPodThatVerifies(t *testing.T) {
	p := &Runner{guests: newGuests()}
	p.guests.open()
	at := recordedTask.DeepCopy()
	at.Status.AttemptKind = v1alpha1.AttemptVerification
	if _, _, err := p.restore(t.Context(), &v1alpha1.Sandbox{}, &reporter{task: at}, nil); err == nil {
		t.Error("a workspace without checkpoints is verified")
	}
	if err := p.guests.closed(); !errors.Is(err, errProving) {
		t.Errorf("guests are let in: %v", err)
	}
}
