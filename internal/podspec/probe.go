package podspec

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// LabelProbe is the ModelProbe that something was made for.
const LabelProbe = "sampan.dev/probe"

// probeState is more than a runner writes that has no repository.
var probeState = resource.MustParse("64Mi")

// ProbeInput is what the pod of a ModelProbe is made from.
type ProbeInput struct {
	Probe *v1alpha1.ModelProbe
	// Template is what the administrator gives to pods.
	Template    v1alpha1.SandboxTemplate
	RunnerImage string
	// Registry is the document with the models to probe, at most MaxRegistryBytes.
	Registry string
	// ModelKeys and Scripts are theirs. The pod starts without those that are not there.
	ModelKeys []ModelKey
	Scripts   []Script
	// AccountPullSecrets are those of the runners' ServiceAccount.
	AccountPullSecrets []corev1.LocalObjectReference
	// PlatformUser leaves the user of the pod to the platform.
	PlatformUser bool
	// UserNamespaces runs the pod in a user namespace of its own.
	UserNamespaces bool
	// Seconds bound the probe of one model, and ActiveSeconds the pod.
	Seconds, ActiveSeconds int64
	// CostUSD bounds what the probe of one model may cost.
	CostUSD string
}

// ProbePod builds the pod of a ModelProbe: the runner of a Sandbox's pod, as restricted as
// that, without a sandbox beside it.
func ProbePod(in ProbeInput) *corev1.Pod {
	sb := &v1alpha1.Sandbox{ObjectMeta: metav1.ObjectMeta{Name: probeLabel(in.Probe), Namespace: in.Probe.Namespace}}
	sb.Spec.Template = *in.Template.DeepCopy()
	sb.Spec.Template.Workspace = v1alpha1.Workspace{SizeLimit: &probeState}
	for i := range in.ModelKeys {
		in.ModelKeys[i].Optional = true
	}
	for i := range in.Scripts {
		in.Scripts[i].Optional = true
	}
	pod := Pod(Input{
		Sandbox: sb, PodName: podapi.ProbePod(in.Probe.Name), RunnerImage: in.RunnerImage, SandboxImage: in.RunnerImage,
		Registry: in.Registry, ModelKeys: in.ModelKeys, Scripts: in.Scripts,
		AccountPullSecrets: in.AccountPullSecrets, PlatformUser: in.PlatformUser, UserNamespaces: in.UserNamespaces, Probing: true,
	})
	pod.Labels[LabelProbe] = in.Probe.Name
	pod.Annotations[annotationDefaultContainer] = podapi.RunnerContainer
	pod.Spec.ActiveDeadlineSeconds = &in.ActiveSeconds
	pod.Spec.InitContainers, pod.Spec.Containers = nil, []corev1.Container{prober(in, pod.Spec.Containers)}
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return !ofProber(v.Name) })
	return pod
}

// prober is the runner of a Sandbox's pod as it probes models.
func prober(in ProbeInput, containers []corev1.Container) corev1.Container {
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == podapi.RunnerContainer })
	c := containers[i]
	c.Command = []string{"agent-runner", "probe", "--in-cluster"}
	c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError // what went wrong
	c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return !ofProber(m.Name) })
	c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool {
		return e.Name == podapi.EnvSandboxName || e.Name == podapi.EnvAttempt || e.Name == podapi.EnvScopes
	})
	c.Env = append(c.Env,
		corev1.EnvVar{Name: podapi.EnvProbeName, Value: in.Probe.Name},
		corev1.EnvVar{Name: podapi.EnvProbeUID, Value: string(in.Probe.UID)},
		corev1.EnvVar{Name: podapi.EnvProbeSeconds, Value: strconv.FormatInt(in.Seconds, 10)},
		corev1.EnvVar{Name: podapi.EnvProbeCostUSD, Value: in.CostUSD})
	return c
}

// ofProber says that a volume is one that a runner needs which has no sandbox.
func ofProber(volume string) bool {
	return slices.Contains([]string{"state", "input", "trust"}, volume)
}

// probeLabel is the value of LabelSandbox of a probe's pod, by which the NetworkPolicy of
// the namespace and the operator's cache know it. No Sandbox has a capital in its name.
func probeLabel(probe *v1alpha1.ModelProbe) string { return "Probe." + probe.Name }

// ProbePolicyName is the name of the NetworkPolicy of a ModelProbe.
func ProbePolicyName(probe string) string { return "sampan-probe-" + probe }

// ProbePolicy is what the pod of a ModelProbe may reach where that is not left open.
func ProbePolicy(probe *v1alpha1.ModelProbe, rules ...networkingv1.NetworkPolicyEgressRule) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{
			Name: ProbePolicyName(probe.Name), Namespace: probe.Namespace,
			Labels: map[string]string{LabelManagedBy: ManagedBy, LabelProbe: probe.Name},
		},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{LabelSandbox: probeLabel(probe)}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
			Egress:      rules,
		},
	}
}
