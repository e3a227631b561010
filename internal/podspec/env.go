package podspec

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// trustVariables are those by which programs are told whom to trust: what is built on
// OpenSSL and Go, curl, git, Python's requests, and Node. All but the last trust what
// the file has instead of the system's, so it has both.
var trustVariables = []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}

// alwaysDirect are reached without a proxy: this machine, what has a name of the
// cluster, and the API server, whose address kubelet puts in.
var alwaysDirect = []string{"localhost", "127.0.0.1", "::1", ".svc", ".cluster.local", "$(KUBERNETES_SERVICE_HOST)"}

// surroundings are the variables of both containers that say how to get out and whom
// to trust there.
func surroundings(t *v1alpha1.SandboxTemplate) []corev1.EnvVar {
	var env []corev1.EnvVar
	if t.CABundle.Name != "" {
		for _, name := range trustVariables {
			env = append(env, corev1.EnvVar{Name: name, Value: podapi.TrustBundle})
		}
	}
	if t.Proxy.HTTPProxy == "" && t.Proxy.HTTPSProxy == "" {
		return env
	}
	direct := slices.Clone(alwaysDirect)
	for _, entry := range t.Proxy.NoProxy {
		direct = append(direct, string(entry))
	}
	for _, v := range []corev1.EnvVar{
		{Name: "HTTP_PROXY", Value: string(t.Proxy.HTTPProxy)},
		{Name: "HTTPS_PROXY", Value: string(t.Proxy.HTTPSProxy)},
		{Name: "NO_PROXY", Value: strings.Join(direct, ",")},
	} {
		if v.Value != "" {
			env = append(env, v, corev1.EnvVar{Name: strings.ToLower(v.Name), Value: v.Value})
		}
	}
	return env
}

// Recorded reports whether a pod was made with a record to keep.
func Recorded(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		return c.Name == podapi.RunnerContainer && slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == podapi.EnvRecordURL })
	})
}

// override replaces the variables that a template gives itself.
func override(env, given []corev1.EnvVar) []corev1.EnvVar {
	env = slices.DeleteFunc(env, func(e corev1.EnvVar) bool {
		return slices.ContainsFunc(given, func(g corev1.EnvVar) bool { return g.Name == e.Name })
	})
	return append(env, given...)
}

// shareTrust lets the runner write the bundle of authorities, and tools read it.
func shareTrust(sb *v1alpha1.Sandbox, spec *corev1.PodSpec) {
	if sb.Spec.Template.CABundle.Name == "" {
		return
	}
	// A ConfigMap has 1 MiB at most, and the system's authorities less than that.
	spec.Volumes = append(spec.Volumes, emptyDir("trust", corev1.EmptyDirVolumeSource{SizeLimit: resource.NewQuantity(4<<20, resource.BinarySI)}))
	for i := range spec.Containers {
		c := &spec.Containers[i]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "trust", MountPath: podapi.TrustDir, ReadOnly: c.Name != podapi.RunnerContainer})
	}
}
