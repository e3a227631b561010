package cluster

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/config"
)

// TestProbeShowsCertificatesToTheirServersOnly guards against a start that hangs
// now and then: a component that is asked before it knows the cluster's authority
// refuses a certificate for as long as the connection lives.
func TestProbeShowsCertificatesToTheirServersOnly(t *testing.T) {
	v := config.Values{State: t.TempDir()}
	if err := os.MkdirAll(v.Config(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeCredentials(v, time.Now()); err != nil {
		t.Fatal(err)
	}
	p, err := newProbe(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range components(v) {
		want := 0
		if component.name == "kube-apiserver" || component.name == "etcd" {
			want = 1
		}
		transport := p.client(component.health).Transport.(*http.Transport)
		if got := len(transport.TLSClientConfig.Certificates); got != want {
			t.Errorf("%s is shown %d certificates, want %d", component.name, got, want)
		}
	}
}
