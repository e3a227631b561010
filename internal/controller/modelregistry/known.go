package modelregistry

import (
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/text"
)

// known is what was last seen of one ConfigMap.
type known struct {
	// mu is held while the document is read. The Store's own is not taken before it.
	mu      sync.Mutex
	uid     types.UID
	version string
	good    *Entry
	err     error

	// cost is what this adds to Store.bytes; the Store's lock guards it.
	cost int
}

// has reports whether this very version of the ConfigMap was read.
func (k *known) has(cm *corev1.ConfigMap) bool {
	return k.uid == cm.UID && k.version == cm.ResourceVersion
}

// read parses the ConfigMap's document and gives what is wrong with it.
func (k *known) read(cm *corev1.ConfigMap) error {
	if k.uid != cm.UID { // a new ConfigMap of the name has no earlier version
		k.uid, k.good = cm.UID, nil
	}
	k.version, k.err = cm.ResourceVersion, nil
	key := client.ObjectKeyFromObject(cm)
	reg, err := parse(cm)
	switch {
	case err == nil:
		k.good = &Entry{Registry: reg, Document: cm.Data[Key], Source: key}
	case k.good != nil:
		good := *k.good
		good.Warning = fmt.Sprintf("ConfigMap %s is broken, its last valid version is used: %s", key, text.OneLine(err.Error()))
		k.good = &good
	default:
		k.err = fmt.Errorf("ConfigMap %s: %w", key, err)
	}
	return err
}

// parse parses the document of a ConfigMap. One without the key is as broken as one
// with a mistake in it: the ConfigMap is there, and somebody has to mend it.
func parse(cm *corev1.ConfigMap) (*models.Registry, error) {
	document, ok := cm.Data[Key]
	if !ok {
		return nil, &models.InvalidError{Problems: []models.Problem{{Message: "there is no key " + Key + "; put the registry under it"}}}
	}
	return models.ParseInCluster([]byte(document))
}

// size is about what is kept of it: the document, and several times as much of
// what was parsed from it.
func (k *known) size() int {
	n := 8 << 10 // the problems that an error may list
	if k.good != nil {
		n += 8 * len(k.good.Document)
	}
	return n
}

// of gives what is known of a ConfigMap, nothing yet if it is new.
func (s *Store) of(key types.NamespacedName) *known {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.known[key]
	if k == nil {
		if s.known == nil {
			s.known = map[types.NamespacedName]*known{}
		}
		k = &known{}
		s.known[key] = k
	}
	return k
}

// keep accounts for what was read, and drops the largest of the others while there
// is too much: so a namespace with a large registry has to read it again, and those
// with an ordinary one keep theirs. The operator's own, which serves many, stays.
func (s *Store) keep(key types.NamespacedName, k *known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[key] != k {
		return // dropped meanwhile
	}
	s.bytes += k.size() - k.cost
	k.cost = k.size()
	most := s.MaxBytes
	if most == 0 {
		most = DefaultMaxBytes
	}
	for s.bytes > most {
		var largest types.NamespacedName
		cost := 0
		for other, o := range s.known {
			if other != key && other.Namespace != s.OperatorNamespace && o.cost > cost {
				largest, cost = other, o.cost
			}
		}
		if cost == 0 {
			return
		}
		s.dropLocked(largest)
	}
}

// drop forgets a ConfigMap.
func (s *Store) drop(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(key)
}

func (s *Store) dropLocked(key types.NamespacedName) {
	if k := s.known[key]; k != nil {
		s.bytes -= k.cost
		delete(s.known, key)
	}
}
