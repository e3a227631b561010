package podspec

import (
	"crypto/sha256"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// ConfigKey is the key of the registry document in a ConfigMap.
const ConfigKey = "models.yaml"

// readByName are the verbs by which a runner reads an object by name.
var readByName = []string{"get", "list", "watch"}

// IdentityName names the ServiceAccount, Role and RoleBinding of a Sandbox. The
// prefix keeps a Sandbox called "default" away from the namespace's own account.
func IdentityName(sb *v1alpha1.Sandbox) string { return "sampan-" + sb.Name }

// ServiceAccount is the identity of a Sandbox's runner.
func ServiceAccount(sb *v1alpha1.Sandbox) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: meta(sb), AutomountServiceAccountToken: new(false)}
}

// Role lets the runner read its own Sandbox and tasks by name, and patch the
// status of those; admission ties the patch to the task's current pod.
func Role(sb *v1alpha1.Sandbox) *rbacv1.Role {
	role := &rbacv1.Role{ObjectMeta: meta(sb), Rules: []rbacv1.PolicyRule{
		rule("sandboxes", sb.Name, readByName...),
	}}
	if task := sb.Spec.TaskRef.Name; task != "" {
		role.Rules = append(role.Rules,
			rule("agenttasks", task, readByName...),
			rule("agenttasks/status", task, "patch"))
	}
	return role
}

// RoleBinding gives the Role to the ServiceAccount.
func RoleBinding(sb *v1alpha1.Sandbox) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: meta(sb),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: IdentityName(sb)},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: IdentityName(sb), Namespace: sb.Namespace}},
	}
}

// Config is the registry document that the runner of one pod uses. It is a
// snapshot: an edit of the registry does not change a run that goes on. Kubelet
// does not watch what is immutable.
func Config(sb *v1alpha1.Sandbox, name, registry string) *corev1.ConfigMap {
	m := meta(sb)
	m.Name = name
	return &corev1.ConfigMap{ObjectMeta: m, Immutable: new(true), Data: map[string]string{ConfigKey: registry}}
}

// ConfigName names a snapshot after its content, so that a pod that is replaced
// takes the one that is there, and as many stay as there were registries.
func ConfigName(sb *v1alpha1.Sandbox, registry string) string {
	sum := sha256.Sum256([]byte(registry))
	return fmt.Sprintf("%s-registry-%x", sb.Name, sum[:5])
}

func meta(sb *v1alpha1.Sandbox) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: IdentityName(sb), Namespace: sb.Namespace, Labels: Labels(sb)}
}

func rule(resource, name string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{
		APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{resource},
		ResourceNames: []string{name}, Verbs: verbs,
	}
}
