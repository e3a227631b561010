package apiserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/apiserver"
	"github.com/sampan-dev/sampan/internal/apiserver/certs"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
)

// served are a Front and, unless there is none, a Server beside an API server.
type served struct {
	t               *testing.T
	c               *cluster.Cluster
	pool            *x509.CertPool
	http            *http.Client
	people, runners string
	// withoutSandboxes turns the feature off in what is started then.
	withoutSandboxes bool
	// stopRecord ends the Server.
	stopRecord func()
}

// inMemory opens a store.
func inMemory(ctx context.Context, room *semaphore.Weighted) (apiserver.Store, error) {
	return record.OpenWith(ctx, "mem://", record.Options{Room: room})
}

const system = "sampan-system"

// serve starts both, and serveFront the Front alone.
func serve(t *testing.T, open apiserver.Opener) *served {
	s := prepare(t)
	s.startRecord(open)
	s.startFront()
	return s
}

func serveFront(t *testing.T) *served {
	s := prepare(t)
	s.startFront()
	return s
}

func prepare(t *testing.T) *served {
	t.Helper()
	c, err := cluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	s := &served{t: t, c: c, pool: x509.NewCertPool()}
	s.create(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}},
	)
	s.grant()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool, ServerName: "localhost"}}
	t.Cleanup(transport.CloseIdleConnections)
	s.http = &http.Client{Transport: transport, Timeout: time.Minute}
	return s
}

// grant gives both servers the rights that they have in an install, and no others.
func (s *served) grant() {
	s.t.Helper()
	objects, err := cluster.Load(filepath.Join(cluster.Root(), "config", "apiserver", "rbac.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, obj := range objects {
		data, err := json.Marshal(obj)
		if err == nil {
			placed := &unstructured.Unstructured{}
			if err = placed.UnmarshalJSON(bytes.ReplaceAll(data, []byte(`"namespace":"system"`), []byte(`"namespace":"`+system+`"`))); err == nil {
				s.create(placed)
			}
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// account is how a server reaches the API server by its own account.
func (s *served) account(name string) (kubeconfig string, config *rest.Config, c client.Client) {
	s.t.Helper()
	kubeconfig = filepath.Join(s.t.TempDir(), "kubeconfig")
	err := s.c.Kubeconfig(s.t.Context(), kubeconfig, system, name)
	if err == nil {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err == nil {
		c, err = client.New(config, client.Options{Scheme: s.c.Client.Scheme()})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return kubeconfig, config, c
}

func (s *served) listen() net.Listener {
	s.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(s.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// certificate is one that localhost has, as every Service its name.
func (s *served) certificate(keeper *certs.Keeper) *certs.Keeper {
	s.t.Helper()
	keeper.Clock, keeper.Namespace, keeper.Service = clock.RealClock{}, system, "localhost"
	if err := keeper.Keep(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	var secret corev1.Secret
	if err := s.c.Client.Get(s.t.Context(), client.ObjectKey{Namespace: system, Name: keeper.Secret}, &secret); err != nil {
		s.t.Fatal(err)
	}
	s.pool.AppendCertsFromPEM(secret.Data[certs.KeyAuthority])
	return keeper
}

// run runs a server until the test or what it gives ends it.
func (s *served) run(server interface{ Run(context.Context) error }, err error) (stop func()) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				s.t.Errorf("the server ended with %v", err)
			}
		case <-time.After(time.Minute):
			s.t.Error("the server does not end")
		}
	})
	s.t.Cleanup(stop)
	return stop
}

func (s *served) startRecord(open apiserver.Opener) {
	s.t.Helper()
	s.runners, s.stopRecord = s.startReplica(open, nil)
}

// startReplica starts a Server, which the Front asks from then on.
func (s *served) startReplica(open apiserver.Opener, replicas func(context.Context) ([]string, error)) (url string, stop func()) {
	s.t.Helper()
	l := s.listen()
	_, config, own := s.account("sampan-record")
	keeper := s.certificate(&certs.Keeper{Client: own, Secret: "sampan-record-tls", ConfigMap: "sampan-record"})
	var cm corev1.ConfigMap
	if err := s.c.Client.Get(s.t.Context(), client.ObjectKey{Namespace: system, Name: "sampan-record"}, &cm); err != nil {
		s.t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	cm.Data[certs.KeyURL] = "https://localhost:" + port // nothing resolves Services here
	if err := s.c.Client.Update(s.t.Context(), &cm); err != nil {
		s.t.Fatal(err)
	}
	return "https://" + l.Addr().String(), s.run(apiserver.New(apiserver.Options{
		Config: config, Client: own, Certificate: keeper, Open: open, Clock: clock.RealClock{}, Replicas: replicas,
		Reader: "system:serviceaccount:sampan-system:sampan-apiserver", Listener: l, Sandboxes: !s.withoutSandboxes,
	}))
}

func (s *served) startFront() {
	s.t.Helper()
	objects, err := cluster.Load(filepath.Join(cluster.Root(), "config", "apiserver", "apiservice.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.create(objects[0])
	token := filepath.Join(s.t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(s.token(system, "sampan-apiserver", "", wire.ReadAudience)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	l := s.listen()
	s.people = "https://" + l.Addr().String()
	kubeconfig, config, own := s.account("sampan-apiserver")
	o := apiserver.FrontOptions{
		Config: config, Certificate: s.certificate(&certs.Keeper{Client: own, Secret: "sampan-apiserver-tls", APIService: objects[0].GetName()}), People: l,
		Record:         &apiserver.RecordServer{Client: own, Clock: clock.RealClock{}, Namespace: system, ConfigMap: "sampan-record", TokenFile: token},
		Authentication: genericoptions.NewDelegatingAuthenticationOptions(),
		Authorization:  genericoptions.NewDelegatingAuthorizationOptions(),
		Audit:          genericoptions.NewAuditOptions(),
		Sandboxes:      !s.withoutSandboxes,
	}
	o.Authentication.RemoteKubeConfigFile, o.Authorization.RemoteKubeConfigFile = kubeconfig, kubeconfig
	o.Authentication.TolerateInClusterLookupFailure = true // no proxy is in front here
	s.run(apiserver.NewFront(o))
}

func (s *served) create(objects ...client.Object) {
	s.t.Helper()
	for _, obj := range objects {
		if err := s.c.Client.Create(s.t.Context(), obj); err != nil {
			s.t.Fatal(err)
		}
	}
}

// tenant makes a namespace with a task that runs in a pod, and the account of its runner.
func (s *served) tenant(namespace string) (task *v1alpha1.AgentTask, podUID string) {
	s.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "fix-1"}, Spec: corev1.PodSpec{
		ServiceAccountName: "sampan-runner", Containers: []corev1.Container{{Name: "runner", Image: "runner"}},
	}}
	task = &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "fix"}}
	task.Spec.Prompt = "Mend it."
	s.create(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "sampan-runner"}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "person"}},
		pod, task,
	)
	other := pod.DeepCopy()
	other.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: "other-1"}
	s.create(other)
	task.Status.PodName, task.Status.PodUID, task.Status.Attempt = "fix-1", string(pod.UID), 1
	if err := s.c.Client.Status().Update(s.t.Context(), task); err != nil {
		s.t.Fatal(err)
	}
	return task, string(pod.UID)
}

// token is one of an account, bound to a pod where one is named.
func (s *served) token(namespace, account, pod string, audiences ...string) string {
	s.t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	if pod != "" {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod}
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}}
	if err := s.c.Client.SubResource("token").Create(s.t.Context(), sa, request); err != nil {
		s.t.Fatal(err)
	}
	return request.Status.Token
}

func (s *served) ask(method, url, token, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// in is where people read something of the task of a namespace.
func (s *served) in(namespace, sub string) string {
	return fmt.Sprintf("%s%s/namespaces/%s/agenttasks/fix/%s", s.people, groupPath, namespace, sub)
}

const groupPath = "/apis/subresources.sampan.dev/v1alpha1"

func (s *served) want(code int, method, url, token, body string) string {
	s.t.Helper()
	got, answer := s.ask(method, url, token, body)
	if got != code {
		s.t.Errorf("%s %s: got %d, want %d: %s", method, strings.TrimPrefix(url, "https://"), got, code, answer)
	}
	return answer
}

func TestWhoMayReadAndWrite(t *testing.T) {
	s := serve(t, inMemory)
	task, _ := s.tenant("a")
	s.tenant("b")
	s.create(
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "reader"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"subresources.sampan.dev"}, Resources: []string{"agenttasks/transcript"}, Verbs: []string{"get"}},
			{APIGroups: []string{"sampan.dev"}, Resources: []string{"agenttasks"}, Verbs: []string{"get"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "reader"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "a", Name: "person"}},
		},
	)
	path := s.runners + wire.TaskPath("a", "fix", string(task.UID))
	line := `{"seq":1,"turn":0,"type":"run_ended","data":{}}` + "\n"
	runner := s.token("a", "sampan-runner", "fix-1", wire.Audience)
	for name, row := range map[string]struct {
		token string
		code  int
	}{
		"nobody":               {"", 401},
		"garbage":              {"x", 401},
		"a person":             {s.token("a", "person", ""), 401},
		"a person's audience":  {s.token("a", "person", "", wire.Audience), 403},
		"another audience":     {s.token("a", "sampan-runner", "fix-1"), 401},
		"no pod":               {s.token("a", "sampan-runner", "", wire.Audience), 403},
		"another pod":          {s.token("a", "sampan-runner", "other-1", wire.Audience), 409},
		"another namespace":    {s.token("b", "sampan-runner", "fix-1", wire.Audience), 403},
		"the runner, at last ": {runner, 204},
	} {
		t.Run(name, func(t *testing.T) {
			s.want(row.code, "POST", path+"/log?first=1", row.token, line)
		})
	}
	person := s.token("a", "person", "")
	if got := s.want(200, "GET", s.in("a", "transcript?follow=true"), person, ""); got != line {
		t.Errorf("got %q", got)
	}
	s.want(403, "GET", s.in("a", "outputs"), person, "")
	s.want(403, "GET", s.in("b", "transcript"), person, "")
	s.want(403, "GET", s.in("a", "transcript"), s.token("b", "person", ""), "")
	s.want(403, "GET", s.in("a", "transcript"), s.token("a", "sampan-runner", "fix-1"), "")
	s.want(401, "GET", s.in("a", "transcript"), runner, "")
	s.want(400, "GET", s.in("a", "transcript?from=0"), person, "")
}

// The operator settles which task is gone on from, and the runner of the new one reads that.
func TestARunnerReadsNoOtherRecord(t *testing.T) {
	s := serve(t, inMemory)
	source, _ := s.tenant("a")
	line := `{"seq":1,"turn":0,"type":"run_started","data":{}}` + "\n"
	of := func(task *v1alpha1.AgentTask) string {
		return s.runners + wire.TaskPath("a", task.Name, string(task.UID))
	}
	s.want(204, "POST", of(source)+"/log?first=1", s.token("a", "sampan-runner", "fix-1", wire.Audience), line)

	fork, plain := &v1alpha1.AgentTask{}, &v1alpha1.AgentTask{}
	for name, task := range map[string]*v1alpha1.AgentTask{"fork": fork, "plain": plain} {
		task.Namespace, task.Name, task.Spec.Prompt = "a", name, "Mend it otherwise."
		if name == "fork" {
			task.Spec.From.TaskRef.Name = "fix"
		}
		s.create(task)
		task.Status.PodName, task.Status.Attempt = "other-1", 1
		if name == "fork" {
			task.Status.FromUID = string(source.UID)
		}
		if err := s.c.Client.Status().Update(t.Context(), task); err != nil {
			t.Fatal(err)
		}
	}
	other := s.token("a", "sampan-runner", "other-1", wire.Audience)
	if got := s.want(200, "GET", of(fork)+wire.OriginLog+"?from=1", other, ""); got != line {
		t.Errorf("got %q", got)
	}
	if got := s.want(404, "GET", of(fork)+wire.OriginCheckpoint, other, ""); !strings.Contains(got, "AgentTask fix has no checkpoint") {
		t.Errorf("got %s", got)
	}
	s.want(403, "GET", of(plain)+wire.OriginLog+"?from=1", other, "")
	s.want(409, "GET", of(source)+"/log?from=1", other, "")
	s.want(409, "GET", of(fork)+wire.OriginLog+"?from=1", s.token("a", "sampan-runner", "fix-1", wire.Audience), "")
}

// reader may read everything of the tasks of a namespace.
func (s *served) reader(namespace string) (token string) {
	s.t.Helper()
	s.create(
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reader"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"subresources.sampan.dev"}, Resources: []string{"*"}, Verbs: []string{"get"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reader"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "person"}},
		},
	)
	return s.token(namespace, "person", "")
}

// Who reads the record itself is the Front, and nobody else: not who may read all there is.
func TestOnlyTheFrontReadsForPeople(t *testing.T) {
	s := serve(t, inMemory)
	task, _ := s.tenant("a")
	person := s.reader("a")
	runner := s.token("a", "sampan-runner", "fix-1", wire.Audience)
	path := s.runners + wire.ReadPath("a", "fix") + "/transcript"
	s.want(401, "GET", path, "", "")
	s.want(401, "GET", path, person, "")
	s.want(401, "GET", path, runner, "")
	s.want(401, "GET", path, s.token(system, "sampan-apiserver", ""), "")
	s.want(403, "GET", path, s.token("a", "person", "", wire.ReadAudience), "")
	s.want(200, "GET", path, s.token(system, "sampan-apiserver", "", wire.ReadAudience), "")

	for _, sub := range []string{"transcript", "log", "outputs", "checkpoints"} {
		s.want(200, "GET", s.in("a", sub), person, "")
		s.want(403, "POST", s.in("a", sub), person, "")
	}
	if got := s.want(404, "GET", s.in("a", "outputs/x"), person, ""); !strings.Contains(got, `has no output`) {
		t.Errorf("got %s", got)
	}
	for _, odd := range []string{"outputs/x/y", "outputs/%2e%2e", "outputs/..%2f..%2f" + string(task.UID)} {
		if code, got := s.ask("GET", s.in("a", odd), person, ""); code < 400 || code >= 500 {
			t.Errorf("%s: got %d %s", odd, code, got)
		}
	}
}

// Discovery answers whatever becomes of the record, and reads say what is the matter.
func TestDiscoveryAnswersWithoutARecord(t *testing.T) {
	for name, row := range map[string]struct {
		start func(*testing.T) *served
		says  string
	}{
		"no store": {func(t *testing.T) *served {
			return serve(t, func(context.Context, *semaphore.Weighted) (apiserver.Store, error) {
				return nil, errors.New("the disk is gone")
			})
		}, "the disk is gone"},
		"no server yet": {serveFront, "ConfigMap sampan-system/sampan-record"},
		"no server any more": {func(t *testing.T) *served {
			s := serve(t, inMemory)
			s.stopRecord()
			return s
		}, "its server does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			s := row.start(t)
			s.tenant("a")
			person := s.reader("a")
			for _, path := range []string{"/apis", groupPath, "/openapi/v2", "/openapi/v3", "/livez", "/readyz"} {
				s.want(200, "GET", s.people+path, person, "")
			}
			if got := s.want(200, "GET", s.people+groupPath, person, ""); !strings.Contains(got, "agenttasks/transcript") {
				t.Errorf("got %s", got)
			}
			if got := s.want(503, "GET", s.in("a", "transcript"), person, ""); !strings.Contains(got, row.says) || !strings.Contains(got, `"kind":"Status"`) {
				t.Errorf("got %s, want one that says %q", got, row.says)
			}
		})
	}
}
