package podapi

import (
	"time"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// MeasuredAt is when a result of a probe was there, which is false where it does not say.
// The clock of a node may be wrong, and would let one result count for ever: so it is
// within the time that the operator's clock gives the probe.
func MeasuredAt(probe *v1alpha1.ModelProbeStatus, result *v1alpha1.ProbedModel) (time.Time, bool) {
	if result.Time == nil {
		return time.Time{}, false
	}
	at := result.Time.Time
	if begin := probe.StartTime; begin != nil && at.Before(begin.Time) {
		at = begin.Time
	}
	if end := probe.CompletionTime; end != nil && at.After(end.Time) {
		at = end.Time
	}
	return at, true
}
