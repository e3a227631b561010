package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// freeAddress is one that nobody listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// token makes a service account and gives a token of it.
func token(t *testing.T, api *cluster.Cluster, name string) string {
	t.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "work"}}
	create(t, api, sa)
	request := &authenticationv1.TokenRequest{}
	if err := api.Client.SubResource("token").Create(t.Context(), sa, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// scrape gives what the metrics endpoint answers to a bearer of a token.
func scrape(t *testing.T, url, token string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(data)
}

// checkMetrics: the endpoint speaks HTTPS, with those whom the API server knows and
// lets get /metrics.
func checkMetrics(t *testing.T, api *cluster.Cluster, addr string) {
	t.Helper()
	stranger, reader := token(t, api, "stranger"), token(t, api, "reader")
	create(t, api, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: prefix + "sampan-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "reader", Namespace: "work"}},
	})
	docs, err := os.ReadFile(filepath.Join(cluster.Root(), "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	create(t, api, objects.MakeTask("suspended").Namespace("work").With(func(task *v1alpha1.AgentTask) { task.Spec.State = v1alpha1.TaskSuspended }).Obj())
	url := "https://" + addr + "/metrics"
	await(t, "serving metrics", func() bool { status, _ := scrape(t, url, ""); return status != 0 })
	for name, c := range map[string]struct {
		token string
		want  int
	}{
		"nobody":                     {"", http.StatusUnauthorized},
		"somebody unknown":           {"made-up", http.StatusUnauthorized},
		"somebody without the right": {stranger, http.StatusForbidden},
	} {
		if status, body := scrape(t, url, c.token); status != c.want || strings.Contains(body, "controller_runtime") {
			t.Errorf("%s gets %d, want %d: %.80s", name, status, c.want, body)
		}
	}
	// A task that waits, and what docs/metrics.md says that every manager has.
	wanted := []string{`sampan_tasks{reason="Suspended"} 1`}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\w+) \\| [^|]* \\|$").FindAllStringSubmatch(string(docs), -1) {
		wanted = append(wanted, "# TYPE "+m[1]+" "+m[2])
	}
	if len(wanted) < 9 {
		t.Fatalf("docs/metrics.md has only %v", wanted)
	}
	var missing string
	await(t, "serving who has the right", func() bool {
		status, body := scrape(t, url, reader)
		missing = ""
		for _, line := range wanted {
			if !strings.Contains(body, line+"\n") {
				missing = line
			}
		}
		return status == http.StatusOK && missing == ""
	}, &missing)
	if status, body := scrape(t, "http://"+addr+"/metrics", reader); status == http.StatusOK {
		t.Errorf("the token goes over plain HTTP, too: %.80s", body)
	}
}

// checkLeader: this manager holds the lease, and so no other is active.
func checkLeader(t *testing.T, api *cluster.Cluster) (holder func() string) {
	t.Helper()
	holder = func() string {
		var lease coordinationv1.Lease
		err := api.Client.Get(t.Context(), types.NamespacedName{Namespace: operatorNamespace, Name: "sampan.dev"}, &lease)
		if err != nil || lease.Spec.HolderIdentity == nil {
			return ""
		}
		return *lease.Spec.HolderIdentity
	}
	if holder() == "" {
		t.Error("controllers work, and nobody holds the lease")
	}
	return holder
}

// checkImpostor: who has the operator's usual name, and is not the operator here, may
// not write a task's status, whatever RBAC lets it do in a namespace.
func checkImpostor(t *testing.T, api *cluster.Cluster) {
	t.Helper()
	create(t, api, objects.MakeTask("victim").Namespace("work").With(func(task *v1alpha1.AgentTask) {
		task.Spec.State = v1alpha1.TaskSuspended
	}).Obj(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "impostor", Namespace: "work"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "sampan-system", Name: managerAccount}},
	})
	config := rest.CopyConfig(api.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:sampan-system:" + managerAccount, Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	impostor, err := client.New(config, client.Options{Scheme: api.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	var said error
	await(t, "refusing an impostor", func() bool {
		task := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Name: "victim", Namespace: "work"}}
		said = impostor.Status().Patch(t.Context(), task, client.RawPatch(types.MergePatchType, []byte(`{"status":{"attempt":7}}`)))
		return said != nil && strings.Contains(said.Error(), prefix+"sampan-runner-status")
	})
}

// checkPolicyWatch: what the administrator's policy refused starts after an edit, and
// an edit that is broken is told of.
func checkPolicyWatch(t *testing.T, api *cluster.Cluster) {
	t.Helper()
	bounds := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: adminpolicy.ConfigMapName},
		Data:       map[string]string{adminpolicy.Key: "version: 1\nimages: []\n"},
	}
	create(t, api, bounds)
	sb := objects.MakeSandbox("refused").Namespace("work").Image("busybox").Obj()
	key := client.ObjectKeyFromObject(sb)
	create(t, api, sb)
	ready := func() *metav1.Condition {
		var got v1alpha1.Sandbox
		if err := api.Client.Get(t.Context(), key, &got); err != nil {
			t.Fatal(err)
		}
		if c := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady); c != nil {
			return c
		}
		return &metav1.Condition{}
	}
	await(t, "refusing an image", func() bool { return ready().Reason == v1alpha1.ReasonPolicyViolation })

	edit := func(document string) {
		bounds.Data[adminpolicy.Key] = document
		if err := api.Client.Update(t.Context(), bounds); err != nil {
			t.Fatal(err)
		}
	}
	edit("version: 1\nimages: [busybox]\n")
	await(t, "saying what is wrong with an edit", func() bool {
		var events corev1.EventList
		if err := api.Client.List(t.Context(), &events, client.InNamespace(operatorNamespace)); err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Items {
			if e.Reason == "PolicyInvalid" && strings.Contains(e.Message, "line 2:10: images[0]") {
				return true
			}
		}
		return false
	})
	refused := ready()
	edit("version: 1\nimages: [\"**\"]\n")
	await(t, "starting what is allowed now", func() bool { return ready().Reason != refused.Reason })
}

func TestCheckPolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte("version: 1\nimages: [debian]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkPolicy(path); err == nil || !strings.Contains(err.Error(), "line 2:10: images[0]") {
		t.Errorf("the error is %v", err)
	}
	if err := os.WriteFile(path, []byte("version: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkPolicy(path); err != nil {
		t.Error(err)
	}
}
