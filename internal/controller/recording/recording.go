// Package recording finds the server of the record, which says in a ConfigMap where
// it is.
package recording

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/podspec"
)

// The ConfigMap of the operator's namespace that the server writes, and its keys.
const (
	ConfigMapName = "sampan-record"
	KeyURL        = "url"
	KeyCA         = "ca.crt"
)

// Mode is whether tasks are recorded.
type Mode string

// The modes.
const (
	// Auto records where there is a server of the record.
	Auto Mode = "auto"
	// Required starts nothing before the server has said where it is.
	Required Mode = "required"
	// Off records nothing.
	Off Mode = "off"
)

// freshness is how long an answer is used. What it holds changes once in years.
const freshness = 10 * time.Second

// ErrMissing says that tasks are to be recorded, and no server has said where it is.
var ErrMissing = errors.New("the server of the record has not said where it is")

// Finder finds the server. It is safe for concurrent use; a nil one finds none.
type Finder struct {
	// Reader reads past the cache: it is asked once in a while.
	Reader client.Reader
	// Namespace is the operator's.
	Namespace string
	Mode      Mode
	Clock     clock.PassiveClock

	mu    sync.Mutex
	asked time.Time
	found *podspec.Record
}

// +kubebuilder:rbac:groups="",namespace=system,resources=configmaps,resourceNames=sampan-record,verbs=get

// Find gives the server, nil where nothing is recorded, and ErrMissing, wrapped, where
// something should be.
func (f *Finder) Find(ctx context.Context) (*podspec.Record, error) {
	if f == nil || f.Mode == Off {
		return nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.found == nil || f.Clock.Since(f.asked) >= freshness {
		found, err := f.read(ctx)
		if err != nil {
			return nil, err
		}
		f.found, f.asked = found, f.Clock.Now()
	}
	if f.found == nil && f.Mode == Required {
		return nil, fmt.Errorf("%w: sampan-record writes ConfigMap %s/%s when it starts", ErrMissing, f.Namespace, ConfigMapName)
	}
	return f.found, nil
}

// Text gives all that pods have of the server, empty where nothing is recorded, or not yet.
func (f *Finder) Text(ctx context.Context) (string, error) {
	switch found, err := f.Find(ctx); {
	case errors.Is(err, ErrMissing) || err == nil && found == nil:
		return "", nil
	case err != nil:
		return "", err
	default:
		return found.URL + " " + found.CA, nil
	}
}

func (f *Finder) read(ctx context.Context) (*podspec.Record, error) {
	var cm corev1.ConfigMap
	err := f.Reader.Get(ctx, types.NamespacedName{Namespace: f.Namespace, Name: ConfigMapName}, &cm)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", f.Namespace, ConfigMapName, err)
	}
	url, ca := cm.Data[KeyURL], cm.Data[KeyCA]
	if url == "" || ca == "" {
		return nil, nil
	}
	return &podspec.Record{URL: url, CA: ca}, nil
}
