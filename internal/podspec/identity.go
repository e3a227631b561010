package podspec

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RunnerName names the ServiceAccount of a namespace's runners and, in a plain
// install, the ClusterRole that it is bound to. They are made once for a
// namespace: to make a Role for each Sandbox costs the API server a quarter of a
// second of work, since it has to check that nobody gives more than they have.
// What tells runners apart is the pod that their token is bound to.
const RunnerName = "sampan-runner"

// ServiceAccount is the identity of a namespace's runners.
func ServiceAccount(namespace string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: shared(namespace, RunnerName), AutomountServiceAccountToken: new(false)}
}

// RoleBinding binds them to a ClusterRole, which lets them read tasks and Sandboxes
// of the namespace and patch the status of tasks; admission ties the patch to the
// task's current pod. A binding's role cannot be changed, so that of another role has
// another name.
func RoleBinding(namespace, role string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: shared(namespace, role),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: RunnerName, Namespace: namespace}},
	}
}

// shared is what all Sandboxes of a namespace have in common.
func shared(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{LabelManagedBy: ManagedBy}}
}
