// Package testca makes certificates of an authority that no system knows.
package testca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// Certificate makes a CA, writes it to a file, and gives a certificate of it for
// model.test and 127.0.0.1.
func Certificate(t testing.TB, file string) tls.Certificate {
	t.Helper()
	ca, cert, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	return cert
}

// New makes a CA, in PEM, and a certificate of it for model.test and 127.0.0.1.
func New() ([]byte, tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA of its own"}, NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "model.test"}, NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"model.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER, caErr := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	serverDER, serverErr := x509.CreateCertificate(rand.Reader, server, ca, &key.PublicKey, key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), tls.Certificate{Certificate: [][]byte{serverDER}, PrivateKey: key},
		errors.Join(caErr, serverErr)
}
