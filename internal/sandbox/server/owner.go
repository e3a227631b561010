package server

import (
	"crypto/subtle"
	"fmt"
	"strings"
	"sync"

	"github.com/sampan-dev/sampan/internal/sandbox/convert"
)

// minSecret is the shortest secret that is taken: 128 bits in base32.
const minSecret = 26

var (
	errNoSecret = fmt.Errorf("%w: every request must carry a secret of at least %d characters, as `Authorization: Bearer SECRET`, "+
		"and the first one decides who is obeyed", convert.ErrNotOwner, minSecret)
	errStranger = fmt.Errorf("%w, which greeted it first; if that has ended without letting go, start the server again", convert.ErrNotOwner)
)

// owner is the one client that a server obeys: the first that greets it with a
// secret. The runner does so before any tool runs. In a container tools cannot
// even connect; this holds also where peers cannot be told apart.
type owner struct {
	mu     sync.Mutex
	secret string
}

// check lets a request pass that carries the owner's secret.
func (o *owner) check(authorization string) error {
	secret, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok || len(secret) < minSecret {
		return errNoSecret
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.secret == "" {
		o.secret = secret
	}
	if subtle.ConstantTimeCompare([]byte(o.secret), []byte(secret)) != 1 {
		return errStranger
	}
	return nil
}

func (o *owner) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.secret = ""
}
