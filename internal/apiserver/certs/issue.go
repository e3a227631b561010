// Package certs makes the serving certificate of an aggregated API server and keeps it
// fresh: an authority of its own in a Secret, which several replicas share, and the
// authority's certificate where those look who call the server.
package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	// skew is by how much clocks may differ.
	skew = time.Hour
)

// pair is a certificate and its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// authorityName differs from the name of each leaf, which would pass for one that
// signed itself otherwise.
const authorityName = "authority of sampan-apiserver"

// newAuthority makes an authority that signs itself.
func newAuthority(now time.Time) (*pair, error) {
	return issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: authorityName}, NotBefore: now.Add(-skew), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
}

// newLeaf makes a serving certificate for some names.
func newLeaf(authority *pair, names []string, now time.Time) (*pair, error) {
	return issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: names[len(names)-1]}, DNSNames: names, NotBefore: now.Add(-skew), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority)
}

func issue(template *x509.Certificate, by *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	if by == nil {
		by = &pair{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of %s: %w", template.Subject, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %s back: %w", template.Subject, err)
	}
	return &pair{cert: cert, key: key}, nil
}

// due reports whether two thirds of a certificate's life are over, or it is not yet
// begun.
func due(cert *x509.Certificate, now time.Time) bool {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return now.Before(cert.NotBefore) || !now.Before(cert.NotBefore.Add(life/3*2))
}

// fits reports whether a leaf serves some names, by an authority.
func (p *pair) fits(authority *pair, names []string) bool {
	return p.cert.CheckSignatureFrom(authority.cert) == nil && slices.Equal(p.cert.DNSNames, names)
}

func (p *pair) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
}

func (p *pair) keyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, fmt.Errorf("writing the key of %s: %w", p.cert.Subject, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// parsePair reads a certificate, the first of several, and its key.
func parsePair(certPEM, keyPEM []byte) (*pair, error) {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, errors.New("certificate and key are not PEM")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the key of %s: %w", cert.Subject, err)
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok || !signer.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("the key is not that of %s", cert.Subject)
	}
	return &pair{cert: cert, key: signer}, nil
}

// valid reports whether a certificate's life has begun and is not over.
func valid(cert *x509.Certificate, now time.Time) bool {
	return !now.Before(cert.NotBefore) && now.Before(cert.NotAfter)
}

// maxBundle bounds the certificates of a bundle.
const maxBundle = 4

// stillGood gives those certificates of a bundle that have not run out.
func stillGood(bundle []byte, now time.Time) (good [][]byte) {
	for range maxBundle {
		block, rest := pem.Decode(bundle)
		if block == nil {
			break
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && now.Before(cert.NotAfter) {
			good = append(good, pem.EncodeToMemory(block))
		}
		bundle = rest
	}
	return good
}
