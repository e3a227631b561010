// Package podspec turns a Sandbox into the objects that run it. It is pure: a
// spec goes in, objects come out.
package podspec

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// annotationRegistry holds the registry document of a pod's runner.
const annotationRegistry = "sampan.dev/models"

// annotationRecordCA holds who signs the certificate of the record's server.
const annotationRecordCA = "sampan.dev/record-ca"

// MaxRegistryBytes leaves room in the 256 KiB that Kubernetes allows for all
// annotations of an object.
const MaxRegistryBytes = 192 << 10

// annotationDefaultContainer says whose shell `kubectl exec` opens: who looks
// around in a pod is not to stand beside the keys.
const annotationDefaultContainer = "kubectl.kubernetes.io/default-container"

// Labels of what the operator makes.
const (
	LabelSandbox = "sampan.dev/sandbox"
	LabelTask    = "sampan.dev/task"
	LabelAttempt = "sampan.dev/attempt"
	// LabelPool is the pool that a Sandbox waits in, or that a pod was made for.
	LabelPool = "sampan.dev/pool"
	// LabelTemplate and LabelSurroundings say of a Sandbox that waits in a pool what it
	// is made from: the hash of its template, and of what else its pod has.
	LabelTemplate     = "sampan.dev/template-hash"
	LabelSurroundings = "sampan.dev/surroundings-hash"
	LabelManagedBy    = "app.kubernetes.io/managed-by"
	// ManagedBy is the value of LabelManagedBy.
	ManagedBy = "sampan"
)

// PoolLabels are those of a Sandbox that waits in a pool.
var PoolLabels = []string{LabelPool, LabelTemplate, LabelSurroundings}

// userID is the user and group of both containers; it has no entry in /etc/passwd
// of most images and owns nothing there.
const userID = 65532

// terminationGraceSeconds is far above the one second in which the runner ends
// a run, to leave room for a slow API server.
const terminationGraceSeconds = 10

// keepingGraceSeconds is that of a pod whose runner keeps the workspace: somebody may delete
// it without having it suspended, and a last checkpoint takes its time.
const keepingGraceSeconds = 20

func gracePeriod(in Input) int64 {
	if in.Record != nil && podapi.Kept(in.Sandbox) {
		return keepingGraceSeconds
	}
	return terminationGraceSeconds
}

// Input is what a pod is made from.
type Input struct {
	Sandbox *v1alpha1.Sandbox
	PodName string
	// Task is the attempt that the pod of a task's own Sandbox is made for.
	Task v1alpha1.TaskReference
	// RunnerImage runs the runner container; SandboxImage the sandbox container
	// where the template names none.
	RunnerImage, SandboxImage string
	// Registry is the registry document for the runner, at most MaxRegistryBytes.
	Registry string
	// ModelKeys are given to the runner container only.
	ModelKeys []ModelKey
	// Scripts are the scripts of scripted providers.
	Scripts []Script
	// Prompt is set where the task takes its prompt from a ConfigMap or Secret.
	Prompt v1alpha1.PromptSource
	// Verify are the task's verifications; the runner, and it alone, gets the files of those
	// that this pod runs.
	Verify []v1alpha1.Verification
	// Outputs are those of the task, some of which have credentials to push with.
	Outputs []v1alpha1.Output
	Scopes  []string
	// Verifying: the pod runs Separate verifications alone, and gets what those need.
	Verifying bool
	// Probing: the pod is that of a ModelProbe.
	Probing bool
	// Egress opens the models and the repository of a Restricted Sandbox.
	Egress []networkingv1.NetworkPolicyEgressRule
	// Record is where the runner records; nil for nowhere.
	Record *Record
	// AccountPullSecrets are those of the runners' ServiceAccount.
	AccountPullSecrets []corev1.LocalObjectReference
	// PlatformUser leaves the user of the pod to the platform.
	PlatformUser bool
	// UserNamespaces runs the pod in a user namespace of its own.
	UserNamespaces bool
}

// ModelKey is an environment variable of the runner, taken from a Secret.
type ModelKey struct {
	Env, SecretName, Key string
	// Optional lets the pod start without it: the Sandbox may never use this model.
	Optional bool
}

// Record is the server of the record.
type Record struct {
	// URL is where runners reach it, and CA who signs its certificate, as PEM.
	URL, CA string
}

// Script is a ConfigMap's key that a scripted provider plays.
type Script struct {
	Provider, ConfigMapName, Key string
	// Optional lets the pod start without it.
	Optional bool
}

// Pod builds the pod of a Sandbox.
func Pod(in Input) *corev1.Pod {
	t := in.Sandbox.Spec.Template
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        in.PodName,
			Namespace:   in.Sandbox.Namespace,
			Labels:      podLabels(in),
			Annotations: podAnnotations(in),
		},
		Spec: corev1.PodSpec{
			ServiceAccountName:            RunnerName,
			AutomountServiceAccountToken:  new(false),
			EnableServiceLinks:            new(false),
			ImagePullSecrets:              pullSecrets(in),
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: new(gracePeriod(in)),
			NodeSelector:                  t.Scheduling.NodeSelector,
			Tolerations:                   t.Scheduling.Tolerations,
			Affinity:                      t.Scheduling.Affinity,
			PriorityClassName:             t.Scheduling.PriorityClassName,
			SecurityContext:               podSecurity(in),
			Containers:                    []corev1.Container{runner(in), sandbox(in)},
			Volumes:                       volumes(in),
		},
	}
	if in.UserNamespaces {
		pod.Spec.HostUsers = new(false)
	}
	if t.RuntimeClassName != "" {
		pod.Spec.RuntimeClassName = &t.RuntimeClassName
	}
	installProgram(in, &pod.Spec)
	keepWorkspace(in, &pod.Spec)
	showHome(in, &pod.Spec)
	shareTrust(in.Sandbox, &pod.Spec)
	addVolumes(in.Sandbox, &pod.Spec)
	return pod
}

func runner(in Input) corev1.Container {
	env := []corev1.EnvVar{
		{Name: podapi.EnvPodName, Value: in.PodName},
		{Name: podapi.EnvPodUID, ValueFrom: &corev1.EnvVarSource{FieldRef: field("metadata.uid")}},
		{Name: podapi.EnvNamespace, Value: in.Sandbox.Namespace},
		{Name: podapi.EnvSandboxName, Value: in.Sandbox.Name},
		{Name: podapi.EnvAttempt, Value: attemptText(in.Task)},
		{Name: podapi.EnvScopes, Value: strings.Join(in.Scopes, ",")},
		{Name: "HOME", Value: podapi.StateDir},
		{Name: "TMPDIR", Value: podapi.StateDir},
	}
	if in.Record != nil {
		env = append(env, corev1.EnvVar{Name: podapi.EnvRecordURL, Value: in.Record.URL})
	}
	env = append(env, surroundings(&in.Sandbox.Spec.Template)...)
	if hasWork(in) {
		for _, k := range in.ModelKeys {
			env = append(env, fromSecret(k.Env, k.SecretName, k.Key, k.Optional))
		}
	}
	if name := in.Sandbox.Spec.Template.Workspace.Git.CredentialsSecretRef.Name; name != "" && usesRepository(in) {
		env = append(env,
			fromSecret(podapi.EnvGitUsername, name, corev1.BasicAuthUsernameKey, true),
			fromSecret(podapi.EnvGitPassword, name, corev1.BasicAuthPasswordKey, false))
	}
	for i, o := range in.Outputs {
		if name := o.Branch.CredentialsSecretRef.Name; name != "" {
			env = append(env,
				fromSecret(podapi.PushUsername(i), name, corev1.BasicAuthUsernameKey, true),
				fromSecret(podapi.PushPassword(i), name, corev1.BasicAuthPasswordKey, false))
		}
	}
	resources, _ := resourcesOf(in.Sandbox)
	return corev1.Container{
		Name:                     podapi.RunnerContainer,
		Image:                    in.RunnerImage,
		ImagePullPolicy:          pullPolicy(in.RunnerImage, ""),
		Command:                  []string{"agent-runner", "run", "--in-cluster"},
		Env:                      env,
		Resources:                resources,
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		SecurityContext:          restricted(),
		VolumeMounts: []corev1.VolumeMount{
			workspaceMount(in.Sandbox),
			{Name: "socket", MountPath: podapi.SocketDir},
			{Name: "state", MountPath: podapi.StateDir},
			{Name: "input", MountPath: podapi.InputDir, ReadOnly: true},
		},
	}
}

// usesRepository reports whether the runner asks the repository for something: it checks
// the workspace out, or makes a patch or a branch of it.
func usesRepository(in Input) bool {
	return !in.Verifying || slices.ContainsFunc(in.Outputs, func(o v1alpha1.Output) bool { return o.Path == "" })
}

func sandbox(in Input) corev1.Container {
	t := in.Sandbox.Spec.Template
	image := sandboxImage(in)
	env := []corev1.EnvVar{
		{Name: "HOME", Value: podapi.HomeDir},
		// The volume's own folder belongs to root, which git would otherwise refuse.
		{Name: "GIT_CONFIG_COUNT", Value: "1"},
		{Name: "GIT_CONFIG_KEY_0", Value: "safe.directory"},
		{Name: "GIT_CONFIG_VALUE_0", Value: podapi.WorkspaceDir},
	}
	env = append(env, surroundings(&t)...)
	var given []corev1.EnvVar
	for _, e := range t.Env {
		v := corev1.EnvVar{Name: e.Name}
		if e.Value != nil {
			v.Value = strings.ReplaceAll(*e.Value, "$", "$$") // plain text, no $(VAR) expansion
		}
		given = append(given, v)
	}
	env = override(env, given)
	_, resources := resourcesOf(in.Sandbox)
	security := restricted()
	if t.RootFilesystem == v1alpha1.RootFilesystemWritable {
		security.ReadOnlyRootFilesystem = new(false)
	}
	return corev1.Container{
		Name:            podapi.SandboxContainer,
		Image:           image,
		ImagePullPolicy: pullPolicy(image, t.ImagePullPolicy),
		Command:         []string{"agent-runner", "sandbox", "--socket", podapi.SocketPath, "--workspace", podapi.WorkspaceDir},
		WorkingDir:      podapi.WorkspaceDir,
		Env:             env,
		Resources:       resources,
		// Tools can write that file, so nothing is decided by what is in it.
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		SecurityContext:          security,
		VolumeMounts: []corev1.VolumeMount{
			workspaceMount(in.Sandbox),
			{Name: "socket", MountPath: podapi.SocketDir},
			{Name: "home", MountPath: podapi.HomeDir},
			{Name: "tmp", MountPath: "/tmp"},
		},
	}
}

// inputs are the files under InputDir. One projected volume costs one mount.
func inputs(in Input) []corev1.VolumeProjection {
	out := []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: podapi.TokenFile, ExpirationSeconds: new(int64(3600))}},
		configMap("kube-root-ca.crt", "ca.crt", podapi.CAFile, false),
		annotationFile(annotationRegistry, podapi.RegistryFile),
	}
	if in.Record != nil {
		out = append(out,
			corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: podapi.RecordAudience, Path: podapi.RecordTokenFile, ExpirationSeconds: new(int64(3600)),
			}},
			annotationFile(annotationRecordCA, podapi.RecordCAFile))
	}
	if !hasWork(in) {
		for _, k := range in.ModelKeys {
			out = append(out, secret(k.SecretName, k.Key, path.Join(podapi.KeyDir, k.Env), k.Optional))
		}
	}
	for _, s := range in.Scripts {
		out = append(out, configMap(s.ConfigMapName, s.Key, podapi.ScriptFile(s.Provider), s.Optional))
	}
	if ref := in.Sandbox.Spec.Template.CABundle; ref.Name != "" {
		out = append(out, configMap(ref.Name, ref.Key, podapi.TrustFile, false))
	}
	for i, v := range in.Verify {
		if (v.Isolation == v1alpha1.VerificationSeparate) != in.Verifying {
			continue // it runs in a pod of the other kind
		}
		for _, key := range v.Files.Keys {
			out = append(out, configMap(v.Files.ConfigMapName, key, podapi.VerifyFile(i, key), false))
		}
	}
	if ref := in.Prompt.ConfigMapKeyRef; ref.Name != "" {
		out = append(out, configMap(ref.Name, ref.Key, podapi.PromptFile, false))
	}
	if ref := in.Prompt.SecretKeyRef; ref.Name != "" {
		out = append(out, secret(ref.Name, ref.Key, podapi.PromptFile, false))
	}
	return out
}

// annotationFile is a file with an annotation of the pod.
func annotationFile(annotation, path string) corev1.VolumeProjection {
	return corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
		Path: path, FieldRef: field("metadata.annotations['" + annotation + "']"),
	}}}}
}

func configMap(name, key, path string, optional bool) corev1.VolumeProjection {
	source := &corev1.ConfigMapProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: name},
		Items:                []corev1.KeyToPath{{Key: key, Path: path}},
	}
	if optional {
		source.Optional = new(true)
	}
	return corev1.VolumeProjection{ConfigMap: source}
}

func secret(name, key, path string, optional bool) corev1.VolumeProjection {
	source := &corev1.SecretProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: name},
		Items:                []corev1.KeyToPath{{Key: key, Path: path}},
	}
	if optional {
		source.Optional = new(true)
	}
	return corev1.VolumeProjection{Secret: source}
}

// field is a field of the pod itself.
func field(path string) *corev1.ObjectFieldSelector {
	return &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}
}

// hasWork reports whether a pod is made for an attempt of a task, or to probe models. Any
// other waits for tasks, perhaps for longer than a key lasts: it has keys as files, which
// follow the Secrets.
func hasWork(in Input) bool { return in.Task.Attempt > 0 || in.Probing }

func fromSecret(env, name, key string, optional bool) corev1.EnvVar {
	ref := &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}
	if optional {
		ref.Optional = new(true)
	}
	return corev1.EnvVar{Name: env, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: ref}}
}

// restricted is what Pod Security's restricted level asks of a container, and
// a root file system that cannot be written to.
func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// podSecurity is who the containers are: the same user in both, since the socket
// and the workspace are theirs together.
func podSecurity(in Input) *corev1.PodSecurityContext {
	security := &corev1.PodSecurityContext{
		RunAsNonRoot:   new(true),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if !in.PlatformUser {
		security.RunAsUser, security.RunAsGroup = new(int64(userID)), new(int64(userID))
	}
	return security
}

// podLabels are the user's labels, without reserved ones, and ours.
func podLabels(in Input) map[string]string {
	labels := unreserved(in.Sandbox.Spec.Template.Metadata.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, Labels(in.Sandbox))
	if podapi.OwnerTask(in.Sandbox) != nil {
		labels[LabelTask], labels[LabelAttempt] = in.Task.Name, attemptText(in.Task)
	}
	if pool := podapi.OwnerPool(in.Sandbox); pool != nil {
		labels[LabelPool] = pool.Name
	}
	return labels
}

// attemptText is empty for a pod that is made for no attempt.
func attemptText(ref v1alpha1.TaskReference) string {
	if ref.Attempt == 0 {
		return ""
	}
	return strconv.Itoa(int(ref.Attempt))
}

// podAnnotations are the user's, without reserved ones, and the registry. As an
// annotation it is a snapshot that costs no object of its own and goes with the
// pod: an edit of the registry does not change a run that goes on.
func podAnnotations(in Input) map[string]string {
	annotations := unreserved(in.Sandbox.Spec.Template.Metadata.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationDefaultContainer] = podapi.SandboxContainer
	annotations[annotationRegistry] = in.Registry
	if in.Record != nil {
		annotations[annotationRecordCA] = in.Record.CA
		if podapi.Kept(in.Sandbox) {
			annotations[annotationKeeps] = "true"
		}
	}
	if len(in.Egress) > 0 {
		annotations[annotationEgress] = egressText(in.Egress)
	}
	return annotations
}

// Labels are the labels of everything that is made for a Sandbox.
func Labels(sb *v1alpha1.Sandbox) map[string]string {
	return map[string]string{LabelManagedBy: ManagedBy, LabelSandbox: sb.Name}
}
