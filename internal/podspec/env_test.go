package podspec_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// TestProxy: runner and tools are told of it in both spellings, and never of a way
// to the API server or the cluster that leads through it.
func TestProxy(t *testing.T) {
	const direct = "localhost,127.0.0.1,::1,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)"
	for name, tc := range map[string]struct {
		proxy v1alpha1.Proxy
		env   []v1alpha1.EnvVar
		// want is what the sandbox has; wantRunner what the runner has, if that is not the same.
		want, wantRunner map[string]string
	}{
		"none":            {proxy: v1alpha1.Proxy{NoProxy: []v1alpha1.NoProxyEntry{".example.com"}}, want: map[string]string{}},
		"for https alone": {proxy: v1alpha1.Proxy{HTTPSProxy: "http://p:3128"}, want: map[string]string{"HTTPS_PROXY": "http://p:3128", "https_proxy": "http://p:3128", "NO_PROXY": direct, "no_proxy": direct}},
		"all, and a template's own": {
			proxy: v1alpha1.Proxy{HTTPProxy: "http://p:3128", HTTPSProxy: "http://p:3129", NoProxy: []v1alpha1.NoProxyEntry{".example.com", "192.0.2.0/24"}},
			env:   []v1alpha1.EnvVar{{Name: "NO_PROXY", Value: new("*")}},
			want: map[string]string{"HTTP_PROXY": "http://p:3128", "http_proxy": "http://p:3128", "HTTPS_PROXY": "http://p:3129", "https_proxy": "http://p:3129",
				"NO_PROXY": "*", "no_proxy": direct + ",.example.com,192.0.2.0/24"},
			wantRunner: map[string]string{"HTTP_PROXY": "http://p:3128", "http_proxy": "http://p:3128", "HTTPS_PROXY": "http://p:3129", "https_proxy": "http://p:3129",
				"NO_PROXY": direct + ",.example.com,192.0.2.0/24", "no_proxy": direct + ",.example.com,192.0.2.0/24"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) { sb.Spec.Template.Proxy, sb.Spec.Template.Env = tc.proxy, tc.env }).Obj()
			pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box"})
			want := map[string]map[string]string{podapi.SandboxContainer: tc.want, podapi.RunnerContainer: tc.want}
			if tc.wantRunner != nil {
				want[podapi.RunnerContainer] = tc.wantRunner
			}
			for _, c := range pod.Spec.Containers {
				got := map[string]string{}
				for _, e := range c.Env {
					if _, twice := got[e.Name]; twice {
						t.Errorf("%s is there twice", e.Name)
					}
					switch e.Name {
					case "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy":
						got[e.Name] = e.Value
					}
				}
				if diff := cmp.Diff(want[c.Name], got); diff != "" {
					t.Errorf("container %s, -want +got:\n%s", c.Name, diff)
				}
			}
		})
	}
}

// TestAuthorities: the runner writes whom tools trust, and tools cannot.
func TestAuthorities(t *testing.T) {
	sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) {
		sb.Spec.Template.CABundle = v1alpha1.KeyReference{Name: "corporate", Key: "ca.crt"}
		sb.Spec.Template.Env = []v1alpha1.EnvVar{{Name: "REQUESTS_CA_BUNDLE", Value: new("/own.crt")}}
	}).Obj()
	pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box"})
	for _, c := range pod.Spec.Containers {
		want := map[string]string{"SSL_CERT_FILE": podapi.TrustBundle, "CURL_CA_BUNDLE": podapi.TrustBundle, "GIT_SSL_CAINFO": podapi.TrustBundle,
			"REQUESTS_CA_BUNDLE": podapi.TrustBundle, "NODE_EXTRA_CA_CERTS": podapi.TrustBundle}
		if c.Name == podapi.SandboxContainer {
			want["REQUESTS_CA_BUNDLE"] = "/own.crt"
		}
		for _, e := range c.Env {
			if value, ok := want[e.Name]; ok && value != e.Value {
				t.Errorf("container %s has %s=%s", c.Name, e.Name, e.Value)
			}
			delete(want, e.Name)
		}
		if len(want) > 0 {
			t.Errorf("container %s lacks %v", c.Name, want)
		}
		mounted := false
		for _, m := range c.VolumeMounts {
			if m.MountPath == podapi.TrustDir {
				mounted = true
				if writable := c.Name == podapi.RunnerContainer; m.ReadOnly == writable {
					t.Errorf("container %s mounts %+v", c.Name, m)
				}
			}
		}
		if !mounted {
			t.Errorf("container %s has no bundle", c.Name)
		}
	}
	for _, v := range pod.Spec.Volumes {
		if v.Name == "trust" && (v.EmptyDir == nil || v.EmptyDir.SizeLimit == nil || v.EmptyDir.Medium != corev1.StorageMediumDefault) {
			t.Errorf("the bundle is on %+v", v)
		}
	}
}
