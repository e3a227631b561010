package apiserver_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sampan-dev/sampan/internal/record/wire"
)

// TestSandboxesOfAnotherReplica: a request finds a Sandbox also where its runner is
// connected to another replica than the one that the Front asks. It is passed on once.
func TestSandboxesOfAnotherReplica(t *testing.T) {
	s := prepare(t)
	var addresses atomic.Pointer[[]string]
	var lookups atomic.Int64
	replicas := func(context.Context) ([]string, error) {
		lookups.Add(1)
		if found := addresses.Load(); found != nil {
			return *found, nil
		}
		return nil, errors.New("no such host")
	}
	connectedTo, _ := s.startReplica(inMemory, replicas)
	asked, _ := s.startReplica(inMemory, replicas)
	s.startFront()
	_, podUID := s.tenant("a")
	s.tenant("b")
	sb := s.box("a", podUID)
	token := s.admin()

	if got := s.want(503, "GET", s.inBox("a", "status"), token, ""); !strings.Contains(got, "no such host") {
		t.Errorf("where nobody knows the replicas it says %s", got)
	}
	found := []string{strings.TrimPrefix(asked, "https://"), strings.TrimPrefix(connectedTo, "https://")}
	addresses.Store(&found)
	if got := s.want(503, "GET", s.inBox("a", "status"), token, ""); !strings.Contains(got, "PodPending: The pod starts.") {
		t.Errorf("of a sandbox that has called no replica it says %s", got)
	}

	s.runners = connectedTo
	connected, _ := s.connect(sb, s.token("a", "sampan-runner", "fix-1", wire.Audience), sandboxServer(t))
	s.eventually("the connection", func() bool { return connected.Load() > 0 })
	s.eventually("an answer", func() bool { code, _ := s.ask("GET", s.inBox("a", "status"), token, ""); return code == 200 })
	s.want(200, "PUT", s.inBox("a", "files/x%20y%2Fz"), token, "by way of another")
	if got := s.want(200, "GET", s.inBox("a", "files/x%20y/z"), token, ""); got != "by way of another" {
		t.Errorf("the file has %q", got)
	}
	if got := s.want(404, "GET", s.inBox("a", "files/none"), token, ""); !strings.Contains(got, `"reason":"not_found"`) {
		t.Errorf("of a file that is not there it says %s", got)
	}
	s.stream(token)

	// What was passed on is not passed on again.
	before := lookups.Load()
	front := s.token(system, "sampan-apiserver", "", wire.ReadAudience)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, asked+wire.ReachPath("a", "box")+"/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+front)
	req.Header.Set(wire.Relayed, "yes")
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusServiceUnavailable || lookups.Load() != before {
		t.Errorf("what came by way of another replica is answered with %s, %v, after %d lookups", resp.Status, err, lookups.Load()-before)
	}
	// Nobody but the Front, and who shows its token, is told who is connected.
	at := connectedTo + wire.ConnectedPath("a", "box", string(sb.UID))
	s.want(403, "GET", at, s.token("a", "person", "", wire.ReadAudience), "")
	s.want(204, "GET", at, front, "")
	s.want(404, "GET", asked+wire.ConnectedPath("a", "box", string(sb.UID)), front, "")
}
