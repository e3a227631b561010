package inpod

import (
	"crypto/tls"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/testing/testca"
)

// serveTLS serves with a certificate of an authority of its own, which is written to a file.
func serveTLS(t *testing.T, ca string) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{testca.Certificate(t, ca)}, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestTrust: what a pod is given is added to what its system trusts. Go reads the
// file that SSL_CERT_FILE names once in a process, so it is another one that asks.
func TestTrust(t *testing.T) {
	if urls := os.Getenv("TRUST_URLS"); urls != "" {
		if err := writeTrust("extra.pem", "bundle.pem", []string{"/nonexistent", "system.pem"}); err != nil {
			t.Fatal(err)
		}
		for url := range strings.SplitSeq(urls, " ") {
			resp, err := http.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
		return
	}
	dir := t.TempDir()
	urls := []string{serveTLS(t, filepath.Join(dir, "system.pem")), serveTLS(t, filepath.Join(dir, "extra.pem"))}
	ask := func() ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTrust$")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TRUST_URLS="+strings.Join(urls, " "),
			"SSL_CERT_FILE="+filepath.Join(dir, "bundle.pem"), "SSL_CERT_DIR="+filepath.Join(dir, "none"))
		return cmd.CombinedOutput()
	}
	if out, err := ask(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range []string{"extra.pem", "bundle.pem"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := ask(); err == nil || !strings.Contains(string(out), "certificate signed by unknown authority") {
		t.Errorf("without the file: %v\n%s", err, out)
	}
}

func TestTrustNeedsCertificates(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("extra.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeTrust("extra.pem", "bundle.pem", nil); err == nil || !strings.Contains(err.Error(), "holds no certificate in PEM") {
		t.Errorf("the error is %v", err)
	}
	if _, err := os.Stat("bundle.pem"); err == nil {
		t.Error("it was written all the same")
	}
}
