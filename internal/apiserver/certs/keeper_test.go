package certs

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func newKeeper(c client.Client, clock *clocktesting.FakeClock) *Keeper {
	return &Keeper{Client: c, Clock: clock, Namespace: "agents", Secret: "tls", ConfigMap: "ca", Service: "door", APIService: "v1.x"}
}

func serving(t *testing.T, k *Keeper) *x509.Certificate {
	t.Helper()
	if err := k.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	cert, key := k.CurrentCertKeyContent()
	p, err := parsePair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return p.cert
}

// trusted fails unless who reads the ConfigMap and the APIService trusts the certificate.
func trusted(t *testing.T, c client.Client, cert *x509.Certificate, now time.Time) {
	t.Helper()
	var cm corev1.ConfigMap
	service := NewAPIService("v1.x")
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "agents", Name: "ca"}, &cm); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(service), service); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(service.Object, "spec", "caBundle"); got != encode([]byte(cm.Data["ca.crt"])) {
		t.Error("the APIService has another authority than the ConfigMap")
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(cm.Data["ca.crt"]))
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: "door.agents.svc", CurrentTime: now}); err != nil {
		t.Error(err)
	}
}

func TestTheCertificateIsRenewedInTime(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(NewAPIService("v1.x")).Build()
	k := newKeeper(c, clock)
	first := serving(t, k)
	trusted(t, c, first, clock.Now())

	clock.Step(59 * 24 * time.Hour)
	if !serving(t, k).Equal(first) {
		t.Error("it is renewed before two thirds of its life are over")
	}
	clock.Step(2 * 24 * time.Hour)
	second := serving(t, k)
	if second.Equal(first) {
		t.Error("it is not renewed when two thirds of its life are over")
	}
	if !bytes.Equal(first.AuthorityKeyId, second.AuthorityKeyId) {
		t.Error("it has another authority")
	}
	trusted(t, c, second, clock.Now())
}

// Who was told the authorities before a renewal trusts what is served for a long time
// after it: the next authority is published first, and signs later.
func TestTheNextAuthorityIsPublishedBeforeItSigns(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(NewAPIService("v1.x")).Build()
	k := newKeeper(c, clock)
	first := serving(t, k)

	clock.Step(7 * 365 * 24 * time.Hour) // the authority is due
	second := serving(t, k)
	if !bytes.Equal(second.AuthorityKeyId, first.AuthorityKeyId) {
		t.Error("an authority signs at once that nobody knows yet")
	}
	told := published(t, c)
	known := x509.NewCertPool()
	known.AppendCertsFromPEM([]byte(told))

	for day := range 300 {
		clock.Step(24 * time.Hour)
		cert := serving(t, k)
		if _, err := cert.Verify(x509.VerifyOptions{Roots: known, DNSName: "door.agents.svc", CurrentTime: clock.Now()}); err != nil {
			t.Fatalf("day %d: who was told before does not trust it: %v", day, err)
		}
		trusted(t, c, cert, clock.Now())
		switched := !bytes.Equal(cert.AuthorityKeyId, first.AuthorityKeyId)
		if switched != (day+1 >= 90) {
			t.Fatalf("day %d: the next authority signs: %t", day, switched)
		}
		if clock.Now().After(first.NotBefore.Add(authorityLife)) {
			t.Fatal("the first authority has run out meanwhile")
		}
	}
	if strings.Count(published(t, c), "BEGIN") != 2 {
		t.Errorf("the bundle is\n%s", published(t, c))
	}
}

// An authority that has run out, while nothing served say, is replaced at once.
func TestAnAuthorityThatHasRunOutIsReplaced(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(NewAPIService("v1.x")).Build()
	k := newKeeper(c, clock)
	first := serving(t, k)
	clock.Step(11 * 365 * 24 * time.Hour)
	second := serving(t, k)
	if bytes.Equal(first.AuthorityKeyId, second.AuthorityKeyId) {
		t.Error("it signs still")
	}
	trusted(t, c, second, clock.Now())
}

// published is the bundle of authorities that those read who call the server.
func published(t *testing.T, c client.Client) string {
	t.Helper()
	var cm corev1.ConfigMap
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "agents", Name: "ca"}, &cm); err != nil {
		t.Fatal(err)
	}
	return cm.Data["ca.crt"]
}

func TestReplicasShareACertificate(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(NewAPIService("v1.x")).Build()
	if one, other := serving(t, newKeeper(c, clock)), serving(t, newKeeper(c, clock)); !one.Equal(other) {
		t.Error("they have two")
	}
}

func TestADamagedSecretIsReplaced(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(NewAPIService("v1.x")).Build()
	k := newKeeper(c, clock)
	serving(t, k)
	var secret corev1.Secret
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "agents", Name: "tls"}, &secret); err != nil {
		t.Fatal(err)
	}
	secret.Data["ca.key"], secret.Data["tls.key"] = []byte("x"), nil
	if err := c.Update(t.Context(), &secret); err != nil {
		t.Fatal(err)
	}
	trusted(t, c, serving(t, k), clock.Now())
}
