package integration

import (
	"context"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/testing/cluster"
)

// guarded is the label of namespaces in which the admission policies hold: in the
// others an administrator plays everybody.
const guarded = "test.sampan/guarded"

// guard installs what `make deploy` does, save the manager, with policies that hold
// in some namespaces only.
func guard(ctx context.Context) {
	GinkgoHelper()
	objs, err := cluster.Render(ctx, "")
	Expect(err).NotTo(HaveOccurred())
	for _, obj := range objs {
		switch kind := obj.GetKind(); {
		case kind == "ValidatingAdmissionPolicyBinding":
			here := map[string]any{"matchLabels": map[string]any{guarded: "true"}}
			Expect(unstructured.SetNestedField(obj.Object, here, "spec", "matchResources", "namespaceSelector")).To(Succeed())
			Expect(api.Apply(ctx, obj)).To(Succeed())
		case kind == "ValidatingAdmissionPolicy", slices.Contains(cluster.RBAC, kind):
			Expect(api.Apply(ctx, obj)).To(Succeed())
		}
	}
}

// guardedNamespace makes a namespace in which the policies hold.
func guardedNamespace(ctx SpecContext) string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "guarded-", Labels: map[string]string{guarded: "true"}}}
	Expect(api.Client.Create(ctx, ns)).To(Succeed())
	return ns.Name
}

// awaitPolicy waits until a policy refuses what it should: it takes a moment to hold.
func awaitPolicy(name string, try func() error) {
	GinkgoHelper()
	Eventually(try).WithTimeout(patience).Should(MatchError(ContainSubstring("'" + name + "'")))
}

// grant lets a user do something in a namespace, or everywhere if that is empty.
func grant(ctx SpecContext, user, namespace string, rules ...rbacv1.PolicyRule) {
	GinkgoHelper()
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}
	if namespace == "" {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: "granted-"}, Rules: rules}
		Expect(api.Client.Create(ctx, role)).To(Succeed())
		Expect(api.Client.Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{GenerateName: "granted-"},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}, Subjects: subjects})).To(Succeed())
		return
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{GenerateName: "granted-", Namespace: namespace}, Rules: rules}
	Expect(api.Client.Create(ctx, role)).To(Succeed())
	Expect(api.Client.Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{GenerateName: "granted-", Namespace: namespace},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name}, Subjects: subjects})).To(Succeed())
}

// rule gives all verbs on some resources, or get on some by name.
func rule(group string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: []string{"*"}}
}

func mayGet(resource string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{resource}, ResourceNames: names, Verbs: []string{"get"}}
}

// guardedWorld is a world whose controllers have the operator's own rights and no
// more, in a namespace in which the policies hold.
func guardedWorld(ctx SpecContext) *world {
	GinkgoHelper()
	config := impersonate("system:serviceaccount:sampan-system:sampan-controller-manager", "manager-0", "system:serviceaccounts", "system:serviceaccounts:sampan-system")
	operator, err := client.NewWithWatch(config, client.Options{Scheme: api.Scheme, Mapper: api.Client.RESTMapper()})
	Expect(err).NotTo(HaveOccurred())
	return worldIn(ctx, guardedNamespace(ctx), operator).checked().withRegistry()
}

var _ = Describe("The operator", func() {
	for story, tell := range stories {
		It("may do all that it does, and admission lets it: "+story+" Sandbox", func(ctx SpecContext) {
			tell(guardedWorld(ctx))
		})
	}
})
