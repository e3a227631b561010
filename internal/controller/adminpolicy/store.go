// Package adminpolicy finds the administrator's policy and holds Sandboxes and
// AgentTasks against it. While an edit is broken the last valid policy stays in use.
package adminpolicy

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/policy"
	"github.com/sampan-dev/sampan/internal/text"
)

// ConfigMapName and Key say where, in the operator's namespace, the policy is.
const (
	ConfigMapName = "sampan-policy"
	Key           = "policy.yaml"
)

// Store gives the policy that holds. It is safe for concurrent use. A nil one has
// the default policy.
type Store struct {
	// Reader reads the ConfigMap, from a cache.
	Reader client.Reader
	// Namespace is the operator's.
	Namespace string
	Recorder  events.EventRecorder

	// cache is what a Store that watches reads from.
	cache cache.Cache

	mu sync.Mutex
	// uid and version are of the ConfigMap that was seen last, and good is the last
	// valid policy of it; err says what is wrong where it never had one.
	uid     types.UID
	version string
	good    *policy.Policy
	err     error
	// document is what good was read from.
	document string
}

// +kubebuilder:rbac:groups="",namespace=system,resources=configmaps,resourceNames=sampan-policy,verbs=get;list;watch

// Load gives the policy that holds: the default where there is no ConfigMap. A
// *models.InvalidError says that there is one, and that it never was valid since the
// operator started: then nothing can be let through.
func (s *Store) Load(ctx context.Context) (*policy.Policy, error) {
	if s == nil {
		return policy.Default(), nil
	}
	var cm corev1.ConfigMap
	err := s.Reader.Get(ctx, s.key(), &cm)
	s.mu.Lock()
	defer s.mu.Unlock()
	if apierrors.IsNotFound(err) {
		s.uid, s.version, s.good, s.err, s.document = "", "", nil, nil, ""
		return policy.Default(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s: %w", s.key(), err)
	}
	s.parse(ctx, &cm)
	return s.good, s.err
}

// Document gives what the policy that holds was read from, empty for the default; the
// error is Load's.
func (s *Store) Document(ctx context.Context) (string, error) {
	if s == nil {
		return "", nil
	}
	if _, err := s.Load(ctx); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.document, nil
}

func (s *Store) key() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: ConfigMapName}
}

// parse parses a ConfigMap once per version of it.
func (s *Store) parse(ctx context.Context, cm *corev1.ConfigMap) {
	if s.uid != cm.UID { // a new ConfigMap of the name has no earlier version
		s.uid, s.version, s.good = cm.UID, "", nil
	}
	if s.version == cm.ResourceVersion {
		return
	}
	s.version = cm.ResourceVersion
	p, err := read(cm)
	if err == nil {
		s.good, s.err, s.document = p, nil, cm.Data[Key]
		logf.FromContext(ctx).Info("Took the administrator's policy", "configMap", s.key())
		return
	}
	wrong, inUse := text.OneLine(err.Error()), "the last valid one stays in use"
	if s.good == nil {
		s.err, inUse = err, "nothing starts until it is fixed"
	}
	logf.FromContext(ctx).Error(err, "Refused a broken policy: "+inUse, "configMap", s.key())
	if s.Recorder != nil {
		s.Recorder.Eventf(cm, nil, corev1.EventTypeWarning, "PolicyInvalid", "Validate", "%s: %s", inUse, wrong)
	}
}

// read parses the document of a ConfigMap. One without the key is as broken as one
// with a mistake in it.
func read(cm *corev1.ConfigMap) (*policy.Policy, error) {
	document, ok := cm.Data[Key]
	if !ok {
		return nil, &models.InvalidError{Problems: []models.Problem{{Message: "there is no key " + Key + "; put the policy under it"}}}
	}
	return policy.Parse([]byte(document))
}
