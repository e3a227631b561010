package apiserver_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record/wire"
	"github.com/sampan-dev/sampan/internal/sandbox/server"
	"github.com/sampan-dev/sampan/internal/testing/objects"
	"github.com/sampan-dev/sampan/internal/tunnel"
	"github.com/sampan-dev/sampan/sandboxclient"
)

// box makes a Sandbox in a tenant's namespace, whose pod is the one of the task.
func (s *served) box(namespace, podUID string) *v1alpha1.Sandbox {
	s.t.Helper()
	sb := objects.MakeSandbox("box").Namespace(namespace).Obj()
	s.create(sb)
	sb.Status.PodName, sb.Status.PodUID = "fix-1", podUID
	sb.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "PodPending", Message: "The pod starts.", LastTransitionTime: metav1.Now(),
	}}
	if err := s.c.Client.Status().Update(s.t.Context(), sb); err != nil {
		s.t.Fatal(err)
	}
	return sb
}

// may lets the person of a namespace do something with its sandboxes.
func (s *served) may(namespace, resource string, verbs ...string) {
	s.t.Helper()
	name := strings.ReplaceAll(resource, "/", "-")
	s.create(
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"subresources.sampan.dev"}, Resources: []string{resource}, Verbs: verbs},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "person"}},
		},
	)
}

// connect lets a sandbox's server be called by the token of a pod, until the test ends, and
// gives how many connections there have been and the last thing that stood in the way.
func (s *served) connect(sb *v1alpha1.Sandbox, token string, handler http.Handler) (connected *atomic.Int64, last *atomic.Value) {
	s.t.Helper()
	connected, last = &atomic.Int64{}, &atomic.Value{}
	last.Store("")
	caller := &tunnel.Caller{
		URL: strings.Replace(s.runners, "127.0.0.1", "localhost", 1) + wire.TunnelPath(sb.Namespace, sb.Name, string(sb.UID)),
		TLS: &tls.Config{RootCAs: s.pool}, Token: func() (string, error) { return token, nil }, Handler: handler,
		OnState: func(err error) {
			if err == nil {
				connected.Add(1)
			} else {
				last.Store(err.Error())
			}
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); caller.Run(ctx) }()
	s.t.Cleanup(func() { cancel(); <-ended })
	return connected, last
}

func (s *served) eventually(what string, is func() bool) {
	s.t.Helper()
	if err := wait.PollUntilContextTimeout(s.t.Context(), 5*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return is(), nil }); err != nil {
		s.t.Fatalf("never came: %s", what)
	}
}

func sandboxServer(t *testing.T) http.Handler {
	t.Helper()
	h, err := server.NewHandler(server.Options{Workspace: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (s *served) inBox(namespace, sub string) string {
	return fmt.Sprintf("%s%s/namespaces/%s/sandboxes/box/%s", s.people, groupPath, namespace, sub)
}

// TestSandboxesAreReached: people have a sandbox do what they have a right to, and nothing
// else, over the connection that its own runner keeps.
func TestSandboxesAreReached(t *testing.T) {
	s := serve(t, inMemory)
	_, podUID := s.tenant("a")
	s.tenant("b")
	sb := s.box("a", podUID)
	person := s.token("a", "person", "")
	s.want(403, "GET", s.inBox("a", "status"), person, "")
	s.may("a", "sandboxes/status", "get")
	s.may("a", "sandboxes/exec", "create")
	s.may("a", "sandboxes/files", "get", "update")
	s.may("a", "sandboxes/processes", "get")
	s.eventually("the right", func() bool { code, _ := s.ask("GET", s.inBox("a", "status"), person, ""); return code != 403 })
	if got := s.want(503, "GET", s.inBox("a", "status"), person, ""); !strings.Contains(got, "PodPending: The pod starts.") {
		t.Errorf("of a sandbox that has not called it says %s", got)
	}

	for name, row := range map[string]struct{ token, want string }{
		"garbage":           {"x", "401 Unauthorized"},
		"a person":          {s.token("a", "person", "", wire.Audience), "403 Forbidden"},
		"another pod":       {s.token("a", "sampan-runner", "other-1", wire.Audience), "the pod of Sandbox box is another one"},
		"another namespace": {s.token("b", "sampan-runner", "fix-1", wire.Audience), "403 Forbidden"},
	} {
		_, last := s.connect(sb, row.token, http.NotFoundHandler())
		s.eventually("the refusal of "+name, func() bool { return strings.Contains(last.Load().(string), row.want) })
	}
	connected, _ := s.connect(sb, s.token("a", "sampan-runner", "fix-1", wire.Audience), sandboxServer(t))
	s.eventually("the connection", func() bool { return connected.Load() > 0 })

	s.eventually("an answer", func() bool { code, _ := s.ask("GET", s.inBox("a", "status"), person, ""); return code == 200 })
	if got := s.want(200, "POST", s.inBox("a", "exec"), person, `{"shell":"echo hello; exit 3"}`); !strings.Contains(got, `"exitCode":3`) {
		t.Errorf("exec gave %s", got)
	}
	for _, name := range []string{"notes.md", "a%20b/c%23d", "%C3%A4"} {
		s.want(200, "PUT", s.inBox("a", "files/"+name), person, "content of "+name)
		if got := s.want(200, "GET", s.inBox("a", "files/"+name), person, ""); got != "content of "+name {
			t.Errorf("%s has %q", name, got)
		}
	}
	s.want(403, "DELETE", s.inBox("a", "files/notes.md"), person, "")
	s.want(403, "GET", s.inBox("a", "backup"), person, "")
	s.want(403, "POST", s.inBox("b", "exec"), person, `{"shell":"true"}`)
	s.want(405, "DELETE", s.inBox("a", "exec"), s.admin(), "")
	s.want(404, "GET", strings.Replace(s.inBox("a", "status"), "/box/", "/none/", 1), person, "")
	s.want(400, "GET", s.inBox("a", "files/..%2f..%2fetc/passwd"), person, "")
	if got := s.want(404, "GET", s.inBox("a", "files/none"), person, ""); !strings.Contains(got, `"kind":"Status"`) || !strings.Contains(got, `"reason":"not_found"`) {
		t.Errorf("of a file that is not there it says %s", got)
	}

	s.conditions(person)
	s.stream(person)
	s.byClient(person)
}

// byClient does the same with the client that others build on.
func (s *served) byClient(token string) {
	s.t.Helper()
	c, err := sandboxclient.New(&rest.Config{Host: s.people, BearerToken: token, Transport: s.http.Transport}, "a", "box")
	if err != nil {
		s.t.Fatal(err)
	}
	ctx := s.t.Context()
	res, err := c.Exec(ctx, sandboxclient.ExecRequest{Shell: "echo hello; exit 3"})
	if err != nil || string(res.Stdout) != "hello\n" || *res.ExitCode != 3 {
		s.t.Errorf("it ended as %+v, %v", res, err)
	}
	w, err := c.WriteFile(ctx, "x y/ü#?", []byte("one"), sandboxclient.WriteOptions{IfAbsent: true})
	if err != nil {
		s.t.Fatal(err)
	}
	if f, err := c.ReadFile(ctx, "x y/ü#?", 10); err != nil || string(f.Data) != "one" || f.Digest != w.Digest {
		s.t.Errorf("the file is %+v, %v", f, err)
	}
	_, err = c.WriteFile(ctx, "x y/ü#?", nil, sandboxclient.WriteOptions{IfMatch: "sha256:00"})
	if sandboxclient.CodeOf(err) != sandboxclient.PreconditionFailed || !apierrors.IsConflict(err) {
		s.t.Errorf("of a write over another's it says %v", err)
	}
	if _, err := c.Backup(ctx, io.Discard); !apierrors.IsForbidden(err) {
		s.t.Errorf("of a backup by who may have none it says %v", err)
	}
	s.may("a", "sandboxes/backup", "get")
	s.eventually("the right", func() bool { _, err = c.Backup(ctx, io.Discard); return !apierrors.IsForbidden(err) })
	if err != nil {
		s.t.Errorf("a short backup: %v", err)
	}
	stream, err := c.Start(ctx, sandboxclient.StreamRequest{Shell: "echo first; exit 4"})
	if err != nil {
		s.t.Fatal(err)
	}
	defer stream.Close()
	out, err := stream.Next()
	if err != nil || string(out.Stdout.Data) != "first\n" {
		s.t.Errorf("the stream gave %+v, %v", out, err)
	}
	if end, err := stream.Next(); err != nil || *end.Exit.ExitCode != 4 {
		s.t.Errorf("the stream ended with %+v, %v", end, err)
	}
	again, err := c.Follow(ctx, stream.Process().ID, 3)
	if err != nil {
		s.t.Fatal(err)
	}
	defer again.Close()
	if rest, err := again.Next(); err != nil || string(rest.Stdout.Data) != "st\n" {
		s.t.Errorf("after 3 bytes came %+v, %v", rest, err)
	}
}

// conditions asks as HTTP's own clients do, whose answers have no body of ours.
func (s *served) conditions(token string) {
	s.t.Helper()
	for name, row := range map[string]struct {
		method, file  string
		header, value string
		code          int
	}{
		"not there":       {"HEAD", "none", "", "", 404},
		"changed":         {"GET", "notes.md", "If-Match", `"0"`, 412},
		"beyond":          {"GET", "notes.md", "Range", "bytes=1000-", 416},
		"a part":          {"GET", "notes.md", "Range", "bytes=0-6", 206},
		"no name of file": {"GET", "a%20b//c", "", "", 400},
	} {
		req, err := http.NewRequestWithContext(s.t.Context(), row.method, s.inBox("a", "files/"+row.file), nil)
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if row.header != "" {
			req.Header.Set(row.header, row.value)
		}
		resp, err := s.http.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != row.code || err != nil {
			s.t.Errorf("%s: got %d, %v, want %d: %s", name, resp.StatusCode, err, row.code, body)
		}
		if name == "a part" && (string(body) != "content" || resp.Header.Get("X-Content-Type-Options") != "nosniff") {
			s.t.Errorf("a part is %q, with %v", body, resp.Header)
		}
	}
}

// TestWithoutTheFeature: what is turned off is not there, and nobody is called back.
func TestWithoutTheFeature(t *testing.T) {
	s := prepare(t)
	s.withoutSandboxes = true
	s.startRecord(inMemory)
	s.startFront()
	_, podUID := s.tenant("a")
	sb := s.box("a", podUID)
	if got := s.want(200, "GET", s.people+groupPath, s.token("a", "person", ""), ""); !strings.Contains(got, `"agenttasks/log"`) || strings.Contains(got, "sandboxes") {
		t.Errorf("discovery says %s", got)
	}
	_, last := s.connect(sb, s.token("a", "sampan-runner", "fix-1", wire.Audience), http.NotFoundHandler())
	s.eventually("the refusal", func() bool { return strings.Contains(last.Load().(string), "there is nothing to POST") })
}

// TestOfAHostileSandbox: what an image of somebody's own answers is no page, no cookie and
// no command to a terminal.
func TestOfAHostileSandbox(t *testing.T) {
	s := serve(t, inMemory)
	_, podUID := s.tenant("a")
	sb := s.box("a", podUID)
	hostile := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Content-Type", "text/html")
		if req.URL.Path == "/v1/status" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"code":"x","message":"\u001b[2Jgone"}`)
			return
		}
		_, _ = io.WriteString(w, "<script>")
	})
	connected, _ := s.connect(sb, s.token("a", "sampan-runner", "fix-1", wire.Audience), hostile)
	s.eventually("the connection", func() bool { return connected.Load() > 0 })
	s.may("a", "sandboxes/status", "get")
	s.may("a", "sandboxes/files", "get")
	person := s.token("a", "person", "")
	s.eventually("an answer", func() bool { code, _ := s.ask("GET", s.inBox("a", "files/x"), person, ""); return code == 200 })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.inBox("a", "files/x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+person)
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.Header.Get("Set-Cookie") != "" || resp.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("the answer has %v", resp.Header)
	}
	if got := s.want(502, "GET", s.inBox("a", "status"), person, ""); strings.Contains(got, `\u001b`) || !strings.Contains(got, "gone") {
		t.Errorf("it says %s", got)
	}
}

// admin gives the token of somebody who may do everything.
func (s *served) admin() string {
	s.t.Helper()
	s.create(
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "admin"}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "admin"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: system, Name: "admin"}},
		},
	)
	token := s.token(system, "admin", "")
	s.eventually("the right", func() bool { code, _ := s.ask("GET", s.inBox("b", "status"), token, ""); return code == 404 })
	return token
}

// stream starts a command whose output comes as it is written: its second line waits for a
// file that is made once the first has come.
func (s *served) stream(token string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.inBox("a", "exec/stream"),
		strings.NewReader(`{"shell":"echo first; until test -e go; do sleep 0.01; done; echo second"}`))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	var got strings.Builder
	for part := make([]byte, 4096); !strings.Contains(got.String(), "event: stdout"); {
		n, err := resp.Body.Read(part)
		got.Write(part[:n])
		if err != nil {
			s.t.Fatalf("%v after %q", err, got.String())
		}
	}
	s.want(200, "PUT", s.inBox("a", "files/go"), token, "")
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(rest), "event: exit") || !strings.Contains(string(rest), `"exitCode":0`) {
		s.t.Errorf("the stream ended with %q, %v", rest, err)
	}
}
