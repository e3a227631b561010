// Package registry finds the model registry that holds for a namespace and
// keeps the last valid one in use while an edit is broken.
package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/text"
)

// ConfigMapName and Key say where a registry document is.
const (
	ConfigMapName = "sampan-models"
	Key           = "models.yaml"
)

// LabelScopes is the label of a namespace that lists, separated by dots, the
// registry scopes that its tasks hold.
const LabelScopes = "sampan.dev/scopes"

// ErrNotFound says that there is no registry for a namespace.
var ErrNotFound = errors.New("no model registry")

// Entry is the registry that holds for a namespace.
type Entry struct {
	Registry *models.Registry
	// Document is the text that Registry was parsed from.
	Document string
	// Source is the ConfigMap it came from.
	Source types.NamespacedName
	// Warning is set when the ConfigMap's newest text is broken and this is an
	// earlier one; it says what to mend.
	Warning string
}

// Store gives the registry of a namespace. It is safe for concurrent use.
type Store struct {
	// Reader reads ConfigMaps named ConfigMapName, from a cache.
	Reader client.Reader
	// OperatorNamespace is looked in when the task's own has no registry.
	OperatorNamespace string
	Recorder          events.EventRecorder

	mu    sync.Mutex
	known map[types.NamespacedName]*known
}

// known is what was last seen of one ConfigMap.
type known struct {
	uid     types.UID
	version string
	good    *Entry
	err     error
}

// Load gives the registry for a namespace. The error wraps ErrNotFound, or is
// a *models.InvalidError where there never was a valid document.
func (s *Store) Load(ctx context.Context, namespace string) (*Entry, error) {
	for _, ns := range []string{namespace, s.OperatorNamespace} {
		var cm corev1.ConfigMap
		key := types.NamespacedName{Namespace: ns, Name: ConfigMapName}
		err := s.Reader.Get(ctx, key, &cm)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading ConfigMap %s: %w", key, err)
		}
		return s.parse(&cm)
	}
	return nil, fmt.Errorf("%w: there is no ConfigMap %s in namespace %s nor in %s",
		ErrNotFound, ConfigMapName, namespace, s.OperatorNamespace)
}

// parse parses a ConfigMap once per version of it.
func (s *Store) parse(cm *corev1.ConfigMap) (*Entry, error) {
	key := client.ObjectKeyFromObject(cm)
	version := string(cm.UID) + "/" + cm.ResourceVersion
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[types.NamespacedName]*known{}
	}
	k := s.known[key]
	if k == nil || k.uid != cm.UID { // a new ConfigMap of the name has no earlier version
		k = &known{uid: cm.UID}
		s.known[key] = k
	}
	if k.version == version {
		return k.good, k.err
	}
	k.version = version
	document := cm.Data[Key]
	reg, err := read(cm)
	switch {
	case err == nil:
		k.good, k.err = &Entry{Registry: reg, Document: document, Source: key}, nil
	case k.good != nil:
		good := *k.good
		good.Warning = fmt.Sprintf("ConfigMap %s is broken, its last valid version is used: %s", key, text.OneLine(err.Error()))
		k.good, k.err = &good, nil
	default:
		k.err = fmt.Errorf("ConfigMap %s: %w", key, err)
	}
	if err != nil && s.Recorder != nil {
		s.Recorder.Eventf(cm, nil, corev1.EventTypeWarning, "RegistryInvalid", "Validate", "%s", text.OneLine(err.Error()))
	}
	return k.good, k.err
}

// read parses the document of a ConfigMap. One without the key is as broken as one
// with a mistake in it: the ConfigMap is there, and somebody has to mend it.
func read(cm *corev1.ConfigMap) (*models.Registry, error) {
	document, ok := cm.Data[Key]
	if !ok {
		return nil, &models.InvalidError{Problems: []models.Problem{{Message: "there is no key " + Key + "; put the registry under it"}}}
	}
	return models.Parse([]byte(document))
}

// Scopes gives the registry scopes that a namespace's label grants.
func Scopes(ctx context.Context, reader client.Reader, namespace string) ([]string, error) {
	var ns corev1.Namespace
	if err := reader.Get(ctx, types.NamespacedName{Name: namespace}, &ns); err != nil {
		return nil, fmt.Errorf("reading Namespace %s: %w", namespace, err)
	}
	value := ns.Labels[LabelScopes]
	if value == "" {
		return nil, nil
	}
	return strings.Split(value, "."), nil
}
