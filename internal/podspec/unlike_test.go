package podspec_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// TestUnlikeOfAPlatformsUser: what OpenShift fills in is not held against a pod.
func TestUnlikeOfAPlatformsUser(t *testing.T) {
	const user = int64(1000670000)
	openShift := func(p *corev1.Pod) {
		selinux := &corev1.SELinuxOptions{Level: "s0:c26,c5"}
		p.Spec.SecurityContext.FSGroup, p.Spec.SecurityContext.SELinuxOptions = new(user), selinux
		for i := range p.Spec.Containers {
			c := p.Spec.Containers[i].SecurityContext
			c.RunAsUser, c.RunAsNonRoot = new(user), new(true)
		}
		p.Annotations["openshift.io/scc"] = "restricted-v2"
		p.Annotations["security.openshift.io/validated-scc-subject-type"] = "user"
	}
	for name, tc := range map[string]struct {
		fixed  bool
		change func(*corev1.Pod)
		want   string
	}{
		"as it is filled in":     {false, func(*corev1.Pod) {}, ""},
		"where we give the user": {true, func(*corev1.Pod) {}, "spec.containers[runner].securityContext"},
		"root": {false, func(p *corev1.Pod) {
			c := p.Spec.Containers[1].SecurityContext
			c.RunAsUser, c.RunAsNonRoot = new(int64(0)), new(false)
		}, "spec.containers[sandbox].securityContext"},
		"a root pod":     {false, func(p *corev1.Pod) { p.Spec.SecurityContext.RunAsNonRoot = nil }, "spec.securityContext"},
		"another group":  {false, func(p *corev1.Pod) { p.Spec.SecurityContext.SupplementalGroups = []int64{0} }, "spec.securityContext"},
		"a privilege":    {false, func(p *corev1.Pod) { p.Spec.Containers[1].SecurityContext.Privileged = new(true) }, "spec.containers[sandbox].securityContext"},
		"without bounds": {false, func(p *corev1.Pod) { p.Spec.SecurityContext.SeccompProfile = nil }, "spec.securityContext"},
	} {
		t.Run(name, func(t *testing.T) {
			build := func() *corev1.Pod {
				return podspec.Pod(podspec.Input{Sandbox: objects.MakeSandbox("box").Obj(), PodName: "box", PlatformUser: !tc.fixed})
			}
			want, got := build(), build()
			got.Spec.DNSPolicy, got.Spec.SchedulerName, got.Spec.DeprecatedServiceAccount = corev1.DNSClusterFirst, corev1.DefaultSchedulerName, got.Spec.ServiceAccountName
			openShift(got)
			tc.change(got)
			if name := podspec.Unlike(want, got); name != tc.want {
				t.Errorf("it differs in %q, want %q", name, tc.want)
			}
		})
	}
}

// TestUnlike: what others fill in is not held against a pod, and what gives its
// maker a way in is.
func TestUnlike(t *testing.T) {
	runner := func(change func(*corev1.Container)) func(*corev1.Pod) {
		return func(p *corev1.Pod) { change(&p.Spec.Containers[0]) }
	}
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"nothing": {func(*corev1.Pod) {}, ""},
		"placed":  {func(p *corev1.Pod) { p.Spec.NodeName, p.Spec.Priority = "node", new(int32(7)) }, ""},
		"tolerations of admission": {func(p *corev1.Pod) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists})
		}, ""},
		"a node selector of admission": {func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"pool": "agents"} }, ""},
		"pull secrets of the account": {func(p *corev1.Pod) {
			p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: "pull"})
		}, ""},
		"a pull secret less":           {func(p *corev1.Pod) { p.Spec.ImagePullSecrets = nil }, "spec.imagePullSecrets"},
		"a pull for every pod":         {runner(func(c *corev1.Container) { c.ImagePullPolicy = corev1.PullAlways }), ""},
		"no pull":                      {runner(func(c *corev1.Container) { c.ImagePullPolicy = corev1.PullNever }), "spec.containers[runner].imagePullPolicy"},
		"resources of a LimitRange":    {runner(func(c *corev1.Container) { c.Resources.Limits["example.com/device"] = resource.MustParse("1") }), ""},
		"a note of a LimitRange":       {func(p *corev1.Pod) { p.Annotations["kubernetes.io/limit-ranger"] = "x" }, ""},
		"its status":                   {func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }, ""},
		"more memory than it may have": {runner(func(c *corev1.Container) { c.Resources.Limits[corev1.ResourceMemory] = resource.MustParse("9Gi") }), "spec.containers[runner].resources"},
		"another image":                {runner(func(c *corev1.Container) { c.Image = "theirs:1" }), "spec.containers[runner].image"},
		"another command":              {runner(func(c *corev1.Container) { c.Command = []string{"sleep", "infinity"} }), "spec.containers[runner].command"},
		"more arguments":               {runner(func(c *corev1.Container) { c.Args = []string{"-x"} }), "spec.containers[runner].args"},
		"another variable": {runner(func(c *corev1.Container) {
			c.Env = append(c.Env, corev1.EnvVar{Name: "LD_PRELOAD", Value: "/workspace/x.so"})
		}), "spec.containers[runner].env"},
		"a hook":                         {runner(func(c *corev1.Container) { c.Lifecycle = &corev1.Lifecycle{} }), "spec.containers[runner].lifecycle"},
		"less of a wall":                 {runner(func(c *corev1.Container) { c.SecurityContext.ReadOnlyRootFilesystem = nil }), "spec.containers[runner].securityContext"},
		"another account":                {func(p *corev1.Pod) { p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount = "default", "default" }, "spec.serviceAccountName"},
		"a token for every container":    {func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = new(true) }, "spec.automountServiceAccountToken"},
		"a container more":               {func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "x"}) }, "spec.containers"},
		"another program in the sandbox": {func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "theirs:1" }, "spec.initContainers[install].image"},
		"what admission gives each container": {func(p *corev1.Pod) {
			p.Spec.InitContainers[0].ImagePullPolicy = corev1.PullAlways
			p.Spec.InitContainers[0].Resources.Limits["example.com/device"] = resource.MustParse("1")
		}, ""},
		"a container before":           {func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "x"}} }, "spec.initContainers"},
		"a container of a debugger":    {func(p *corev1.Pod) { p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{}} }, "spec.ephemeralContainers"},
		"the containers the other way": {func(p *corev1.Pod) { c := p.Spec.Containers; c[0], c[1] = c[1], c[0] }, "spec.containers"},
		"a name that leads elsewhere": {func(p *corev1.Pod) {
			p.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{"gateway"}}}
		}, "spec.hostAliases"},
		"another resolver":   {func(p *corev1.Pod) { p.Spec.DNSPolicy = corev1.DNSNone }, "spec.dnsPolicy"},
		"the node's network": {func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "spec.hostNetwork"},
		"one process tree":   {func(p *corev1.Pod) { p.Spec.ShareProcessNamespace = new(true) }, "spec.shareProcessNamespace"},
		"another volume": {func(p *corev1.Pod) {
			p.Spec.Volumes[0].EmptyDir, p.Spec.Volumes[0].HostPath = nil, &corev1.HostPathVolumeSource{Path: "/"}
		}, "spec.volumes"},
		"another user":                      {func(p *corev1.Pod) { p.Spec.SecurityContext.RunAsUser = new(int64(1000)) }, "spec.securityContext"},
		"the node's users":                  {func(p *corev1.Pod) { p.Spec.HostUsers = nil }, "spec.hostUsers"},
		"a label that another selects":      {func(p *corev1.Pod) { p.Labels["app"] = "payments" }, "metadata.labels"},
		"another registry":                  {func(p *corev1.Pod) { p.Annotations["sampan.dev/models"] = "version: 2" }, "metadata.annotations"},
		"an annotation that a plugin obeys": {func(p *corev1.Pod) { p.Annotations["k8s.v1.cni.cncf.io/networks"] = "theirs" }, "metadata.annotations"},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := fullPod(), fullPod()
			got.Spec.DNSPolicy, got.Spec.SchedulerName, got.Spec.DeprecatedServiceAccount = corev1.DNSClusterFirst, corev1.DefaultSchedulerName, got.Spec.ServiceAccountName
			tc.change(got)
			if name := podspec.Unlike(want, got); name != tc.want {
				t.Errorf("it differs in %q, want %q", name, tc.want)
			}
		})
	}
}
