package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Keys of the ConfigMap: who signs the certificate, and where the server is.
const (
	KeyAuthority = "ca.crt"
	KeyURL       = "url"
)

// Keys of the Secret, besides those of its type. The next authority is one that has been
// published and does not sign yet.
const (
	authorityCert = KeyAuthority
	authorityKey  = "ca.key"
	nextCert      = "next.crt"
	nextKey       = "next.key"
)

const (
	// keepInterval is how often it is looked whether all is as it should be.
	keepInterval = 10 * time.Minute
	// keepAgain is how soon after a failure.
	keepAgain = 10 * time.Second
	// keepDeadline bounds one look.
	keepDeadline = time.Minute
	// maxConflicts bounds how many times another replica may be faster.
	maxConflicts = 5
)

// Keeper keeps a serving certificate.
type Keeper struct {
	Client client.Client
	Clock  clock.Clock
	// Namespace is where Secret and ConfigMap are.
	Namespace string
	// Secret has the authority and the certificate.
	Secret string
	// ConfigMap has the authority's certificate alone, and where the server is. It is
	// empty where nobody is told so.
	ConfigMap string
	// Service is the name of the Service that the server is behind, and Port its port.
	Service string
	Port    int
	// APIService is told the authority. It is empty for a server that is behind none.
	APIService string

	mu        sync.Mutex
	cert, key []byte
	// authority has the certificates of who signs.
	authority []byte
	parsed    *tls.Certificate
	listeners []dynamiccertificates.Listener
}

var _ dynamiccertificates.CertKeyContentProvider = &Keeper{}

// Name implements dynamiccertificates.CertKeyContentProvider.
func (k *Keeper) Name() string { return "secret " + k.Namespace + "/" + k.Secret }

// CurrentCertKeyContent implements dynamiccertificates.CertKeyContentProvider.
func (k *Keeper) CurrentCertKeyContent() (cert, key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cert, k.key
}

// Authority gives the certificates, in PEM, of who signs that of this server and of its
// other replicas.
func (k *Keeper) Authority() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.authority
}

// Host is a name that the certificate is for.
func (k *Keeper) Host() string { return k.Service + "." + k.Namespace + ".svc" }

// AddListener implements dynamiccertificates.Notifier.
func (k *Keeper) AddListener(l dynamiccertificates.Listener) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listeners = append(k.listeners, l)
}

// GetCertificate is for tls.Config.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.parsed == nil {
		return nil, errors.New("there is no serving certificate yet")
	}
	return k.parsed, nil
}

// Start waits until there is a certificate to serve with.
func (k *Keeper) Start(ctx context.Context) error {
	for {
		err := k.Keep(ctx)
		if cert, _ := k.CurrentCertKeyContent(); cert != nil {
			if err != nil {
				klog.FromContext(ctx).Error(err, "The server's authority is not known everywhere. It is tried again.")
			}
			return nil
		}
		klog.FromContext(ctx).Error(err, "There is no serving certificate yet. It is tried again.")
		select {
		case <-ctx.Done():
			return fmt.Errorf("there is no serving certificate: %w", err)
		case <-k.Clock.After(keepAgain):
		}
	}
}

// Run keeps the certificate until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	pause := keepInterval
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.Clock.After(pause):
		}
		pause = keepInterval
		if err := k.Keep(ctx); err != nil {
			klog.FromContext(ctx).Error(err, "The serving certificate cannot be kept fresh. It is tried again.")
			pause = keepAgain
		}
	}
}

// Keep makes and renews what has to be, and tells of it.
func (k *Keeper) Keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keepDeadline)
	defer cancel()
	secret, err := k.secret(ctx)
	if err != nil {
		return fmt.Errorf("keeping the serving certificate in Secret %s/%s: %w", k.Namespace, k.Secret, err)
	}
	// Those who call have to know an authority before it is used.
	if k.ConfigMap != "" {
		err = k.publish(ctx, secret.Data[authorityCert])
	}
	if k.APIService != "" {
		err = errors.Join(err, k.patch(ctx, secret.Data[authorityCert]))
	}
	return errors.Join(err, k.use(secret))
}

// secret gives the Secret when its certificate is fresh. Of several replicas that renew
// it, one is taken at its word by the API server, and the others read what that made.
func (k *Keeper) secret(ctx context.Context) (*corev1.Secret, error) {
	for range maxConflicts {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Secret}}
		err := k.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return nil, err
		}
		changed, err := k.renew(ctx, secret)
		if err != nil || !changed {
			return secret, err
		}
		if missing {
			err = k.Client.Create(ctx, secret)
		} else {
			err = k.Client.Update(ctx, secret)
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return secret, err
		}
	}
	return nil, errors.New("others write it all the time")
}

// renew puts into a Secret what is missing there or due.
func (k *Keeper) renew(ctx context.Context, secret *corev1.Secret) (changed bool, err error) {
	now, log := k.Clock.Now(), klog.FromContext(ctx)
	names := []string{k.Service + "." + k.Namespace + ".svc", k.Service + "." + k.Namespace + ".svc.cluster.local", k.Service + "." + k.Namespace, k.Service}
	if secret.Data == nil {
		secret.Type, secret.Data = corev1.SecretTypeTLS, map[string][]byte{}
	}
	authority, changed, err := authorities(log, secret, now)
	if err != nil {
		return false, err
	}
	leaf, err := parsePair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err == nil && leaf.fits(authority, names) && !due(leaf.cert, now) {
		return changed, nil
	}
	log.Info("Making a serving certificate", "names", names)
	if leaf, err = newLeaf(authority, names, now); err != nil {
		return false, err
	}
	return true, put(secret, corev1.TLSCertKey, leaf.certPEM(), corev1.TLSPrivateKeyKey, leaf)
}

func put(secret *corev1.Secret, certName string, cert []byte, keyName string, p *pair) error {
	key, err := p.keyPEM()
	if err != nil {
		return err
	}
	secret.Data[certName], secret.Data[keyName] = cert, key
	return nil
}

// publish says in the ConfigMap where the server is and who signs its certificate.
func (k *Keeper) publish(ctx context.Context, bundle []byte) error {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.ConfigMap}}
	err := k.Client.Get(ctx, client.ObjectKeyFromObject(cm), cm)
	missing := apierrors.IsNotFound(err)
	data := map[string]string{authorityCert: string(bundle), KeyURL: fmt.Sprintf("https://%s.%s.svc:%d", k.Service, k.Namespace, k.Port)}
	if err == nil && maps.Equal(cm.Data, data) {
		return nil
	}
	if err == nil || missing {
		cm.Data = data
		if missing {
			err = k.Client.Create(ctx, cm)
		} else {
			err = k.Client.Update(ctx, cm)
		}
	}
	if err != nil {
		return fmt.Errorf("publishing where the server is in ConfigMap %s/%s: %w", k.Namespace, k.ConfigMap, err)
	}
	return nil
}

// patch tells the API server whom to trust behind the APIService.
func (k *Keeper) patch(ctx context.Context, bundle []byte) error {
	service := NewAPIService(k.APIService)
	err := k.Client.Get(ctx, client.ObjectKeyFromObject(service), service)
	if err == nil {
		before := service.DeepCopy()
		if err = unstructured.SetNestedField(service.Object, encode(bundle), "spec", "caBundle"); err == nil && !equal(before, service) {
			err = k.Client.Patch(ctx, service, client.MergeFrom(before))
		}
	}
	if err != nil {
		return fmt.Errorf("telling APIService %s the authority: %w", k.APIService, err)
	}
	return nil
}

// use serves with the certificate from now on.
func (k *Keeper) use(secret *corev1.Secret) error {
	cert, key := secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]
	parsed, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("reading the serving certificate: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.authority = secret.Data[authorityCert]
	if bytes.Equal(k.cert, cert) && bytes.Equal(k.key, key) {
		return nil
	}
	k.cert, k.key, k.parsed = cert, key, &parsed
	for _, l := range k.listeners {
		l.Enqueue()
	}
	return nil
}
