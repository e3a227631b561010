package inpod

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// systemBundles are where distributions keep the authorities that a system trusts;
// the list is that of Go's crypto/x509.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// writeTrust writes the authorities of the system and of a file to one bundle. Most
// programs can be told of one file that they then trust instead of the system's.
// Nothing is written where there is no such file.
func writeTrust(extra, bundle string, system []string) error {
	more, err := os.ReadFile(extra)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the CA bundle: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(more) {
		return errors.New("the ConfigMap's key that template.caBundle names holds no certificate in PEM")
	}
	var base []byte
	for _, path := range system {
		if base, err = os.ReadFile(path); err == nil {
			break
		}
	}
	if err := os.WriteFile(bundle, slices.Concat(base, []byte("\n"), more), 0o644); err != nil { //nolint:gosec // what it calls tainted are the certificates, not the path
		return fmt.Errorf("writing the CA bundle: %w", err)
	}
	return nil
}
