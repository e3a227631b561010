package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// patience is how long a policy or a grant may take to hold.
const patience = time.Minute

// The ways to have a Secret read in one's place.
func promptSecret(name string) client.Object {
	return objects.MakeTask("x").Prompt("").With(func(t *v1alpha1.AgentTask) {
		t.Spec.PromptFrom.SecretKeyRef = v1alpha1.KeyReference{Name: name, Key: "dsn"}
	}).Obj()
}

func taskGit(name string) client.Object {
	return objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) {
		t.Spec.Sandbox.Template.Workspace.Git = v1alpha1.GitSource{URL: "https://git.example/r.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: name}}
	}).Obj()
}

func taskPush(name string) client.Object {
	return objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) {
		t.Spec.Sandbox.Template.Workspace.Git = v1alpha1.GitSource{URL: "https://git.example/r.git"}
		t.Spec.Outputs = []v1alpha1.Output{{Name: "change", Patch: &v1alpha1.PatchOutput{}},
			{Name: "fix", Branch: v1alpha1.BranchOutput{Ref: "fix", CredentialsSecretRef: v1alpha1.SecretReference{Name: name}}}}
	}).Obj()
}

func sandboxGit(name string) client.Object {
	return objects.MakeSandbox("x").Git("https://git.example/r.git").With(func(sb *v1alpha1.Sandbox) {
		sb.Spec.Template.Workspace.Git.CredentialsSecretRef.Name = name
	}).Obj()
}

func taskPull(name string) client.Object {
	return objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) {
		t.Spec.Sandbox.Template.ImagePullSecrets = []v1alpha1.SecretReference{{Name: "mine"}, {Name: name}}
		if name == "mine" {
			t.Spec.Sandbox.Template.ImagePullSecrets = t.Spec.Sandbox.Template.ImagePullSecrets[:1]
		}
	}).Obj()
}

func sandboxPull(names ...string) client.Object {
	return objects.MakeSandbox("x").With(func(sb *v1alpha1.Sandbox) {
		for _, name := range names {
			sb.Spec.Template.ImagePullSecrets = append(sb.Spec.Template.ImagePullSecrets, v1alpha1.SecretReference{Name: name})
		}
	}).Obj()
}

func secretVolumes(names ...string) (out []v1alpha1.Volume) {
	for _, name := range names {
		out = append(out, v1alpha1.Volume{Name: name, MountPath: "/data/" + name, Secret: &corev1.SecretVolumeSource{SecretName: name}})
	}
	return out
}

func named(name string, obj client.Object) client.Object {
	obj.SetName(name)
	return obj
}

// registryOf is a registry with a provider for each of those Secrets.
func registryOf(secrets ...string) *corev1.ConfigMap {
	providers, models := "", ""
	for i, name := range secrets {
		providers += fmt.Sprintf("  p%d: {type: openai, baseURL: 'http://collector.example/v1', apiKey: {secretName: %s, key: k}}\n", i, name)
		models += fmt.Sprintf("- {id: m%d, provider: p%d}\n", i, i)
	}
	return objects.MakeRegistry("default", "version: 1\ndefault: {name: m0}\nproviders:\n"+providers+"models:\n"+models)
}

var _ = Describe("Who names a Secret", Ordered, func() {
	const tenant = "tenant"
	var ns string
	// try creates the object as the tenant, in the spec's namespace, for good.
	try := func(ctx SpecContext, obj client.Object) error {
		obj = obj.DeepCopyObject().(client.Object)
		obj.SetNamespace(ns)
		return as(tenant, "").Create(ctx, obj)
	}
	// dry only asks whether it would be let in.
	dry := func(ctx SpecContext, obj client.Object) error {
		obj = obj.DeepCopyObject().(client.Object)
		obj.SetNamespace(ns)
		return as(tenant, "").Create(ctx, obj, client.DryRunAll)
	}
	refused := func(policy, text string) OmegaMatcher {
		return MatchError(And(ContainSubstring("'"+policy+"'"), ContainSubstring(text), ContainSubstring("ask for the right")))
	}
	// granted waits until a grant holds.
	granted := func(ctx SpecContext, obj client.Object) {
		GinkgoHelper()
		Eventually(func() error { return dry(ctx, obj) }).WithTimeout(patience).Should(Succeed())
	}

	BeforeEach(func(ctx SpecContext) {
		ns = guardedNamespace(ctx)
		// A namespace's user with all rights on our kinds, everywhere, is still no operator.
		grant(ctx, tenant, "", rule("sampan.dev", "*"))
		grant(ctx, tenant, ns, rule("", "configmaps"))
		granted(ctx, objects.MakeTask("plain").Obj())
		awaitPolicy("sampan-secret-references", func() error { return dry(ctx, taskGit("probe")) })
		awaitPolicy("sampan-registry-secrets", func() error { return dry(ctx, registryOf("probe")) })
	})

	DescribeTable("must be allowed to get it", func(ctx SpecContext, policy, where string, obj func(string) client.Object) {
		grant(ctx, tenant, ns, mayGet("secrets", "mine"))
		granted(ctx, obj("mine"))
		Expect(try(ctx, obj("db"))).To(refused(policy, "you may not get Secret db in namespace "+ns+", which "+where))
		Expect(try(ctx, obj("mine"))).To(Succeed())
	},
		Entry("as a prompt", "sampan-secret-references", "spec.promptFrom.secretKeyRef", promptSecret),
		Entry("as git credentials of a task", "sampan-secret-references", "workspace.git.credentialsSecretRef", taskGit),
		Entry("as credentials to push an output with", "sampan-secret-references", "spec.outputs.branch.credentialsSecretRef", taskPush),
		Entry("as git credentials of a Sandbox", "sampan-secret-references", "workspace.git.credentialsSecretRef", sandboxGit),
		Entry("as git credentials that a task brings into a pool", "sampan-secret-references", "poolRef.git.credentialsSecretRef", func(name string) client.Object {
			return objects.MakeTask("x").From("spare").With(func(t *v1alpha1.AgentTask) {
				t.Spec.Sandbox.PoolRef.Git = v1alpha1.GitSource{URL: "https://git.example/r.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: name}}
			}).Obj()
		}),
		Entry("as git credentials of a pool", "sampan-secret-references", "workspace.git.credentialsSecretRef", func(name string) client.Object {
			pool := objects.MakePool("x", 1)
			pool.Spec.Template.Workspace.Git = v1alpha1.GitSource{URL: "https://git.example/r.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: name}}
			return pool
		}),
		Entry("as a pull secret of a task", "sampan-secret-references", "imagePullSecrets", taskPull),
		Entry("as a pull secret of a Sandbox", "sampan-secret-references", "imagePullSecrets", func(name string) client.Object { return sandboxPull(name) }),
		Entry("as a volume of a task", "sampan-secret-references", "volumes.secret", func(name string) client.Object {
			return objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) { t.Spec.Sandbox.Template.Volumes = secretVolumes(name) }).Obj()
		}),
		Entry("by a driver of a Sandbox's volume", "sampan-secret-references", "volumes.csi", func(name string) client.Object {
			return objects.MakeSandbox("x").With(func(sb *v1alpha1.Sandbox) {
				sb.Spec.Template.Volumes = []v1alpha1.Volume{{Name: "v", MountPath: "/data", CSI: &corev1.CSIVolumeSource{
					Driver: "d.example.com", NodePublishSecretRef: &corev1.LocalObjectReference{Name: name}}}}
			}).Obj()
		}),
		Entry("as a model's key", "sampan-registry-secrets", "this registry", func(name string) client.Object { return registryOf("mine", name) }),
	)

	It("must be allowed to get a ConfigMap with a prompt, too", func(ctx SpecContext) {
		obj := objects.MakeTask("x").PromptFrom("notes", "prompt").Obj()
		Expect(try(ctx, obj)).To(Succeed(), "the tenant may get every ConfigMap")
		grant(ctx, "writer", ns, rule("sampan.dev", "*"), mayGet("configmaps", "other"))
		obj.Name = "y"
		obj.Namespace = ns
		Eventually(func() error { return as("writer", "").Create(ctx, obj.DeepCopy()) }).WithTimeout(patience).
			Should(refused("sampan-secret-references", "you may not get ConfigMap notes"))
	})

	It("must be allowed to get a ConfigMap with files of a verification, too", func(ctx SpecContext) {
		obj := objects.MakeTask("x").VerifyFiles("v", "true", "tests", "test.sh").Obj()
		Expect(try(ctx, obj)).To(Succeed(), "the tenant may get every ConfigMap")
		grant(ctx, "tester", ns, rule("sampan.dev", "*"), mayGet("configmaps", "other"))
		obj.Name = "y"
		obj.Namespace = ns
		Eventually(func() error { return as("tester", "").Create(ctx, obj.DeepCopy()) }).WithTimeout(patience).
			Should(refused("sampan-secret-references", "you may not get ConfigMap tests in namespace "+ns+", which spec.verify.files"))
	})

	It("must be allowed to get each of as many as there can be", func(ctx SpecContext) {
		const most = 14
		all := objects.MakeTask("x").Prompt("").With(func(t *v1alpha1.AgentTask) {
			t.Spec.PromptFrom.SecretKeyRef = v1alpha1.KeyReference{Name: "s1", Key: "k"}
			t.Spec.Sandbox.Template = sandboxPull("s3", "s4", "s5", "s6").(*v1alpha1.Sandbox).Spec.Template
			t.Spec.Sandbox.Template.Workspace.Git = v1alpha1.GitSource{URL: "https://git.example/r.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: "s2"}}
			t.Spec.Sandbox.Template.Volumes = secretVolumes("s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14")
		}).Obj()
		for i := range 8 {
			Eventually(func() error { return dry(ctx, all) }).WithTimeout(patience).Should(refused("sampan-secret-references", "you may not get Secret s"))
			grant(ctx, tenant, ns, mayGet("secrets", fmt.Sprintf("s%d", i+1)))
		}
		Eventually(func() error { return dry(ctx, all) }).WithTimeout(patience).
			Should(MatchError(ContainSubstring("names more than 8 Secrets; who creates it must be allowed to get all Secrets in namespace " + ns)))
		for i := range most {
			grant(ctx, tenant, ns, mayGet("secrets", fmt.Sprintf("s%d", i+1)))
		}
		Expect(dry(ctx, all)).To(MatchError(ContainSubstring("names more than 8 Secrets")))
		grant(ctx, tenant, ns, mayGet("secrets"))
		granted(ctx, all)
	})

	It("must be allowed to get a ConfigMap with authorities, too", func(ctx SpecContext) {
		obj := objects.MakeTask("x").PromptFrom("other", "prompt").With(func(t *v1alpha1.AgentTask) {
			t.Spec.Sandbox.Template.CABundle = v1alpha1.KeyReference{Name: "ca", Key: "ca.crt"}
		}).Namespace(ns).Obj()
		grant(ctx, "reader", ns, rule("sampan.dev", "*"), mayGet("configmaps", "other"))
		Eventually(func() error { return as("reader", "").Create(ctx, obj.DeepCopy()) }).WithTimeout(patience).
			Should(refused("sampan-secret-references", "you may not get ConfigMap ca in namespace "+ns+", which caBundle names"))
		obj.Spec.Sandbox.Template = v1alpha1.SandboxTemplate{Volumes: []v1alpha1.Volume{{Name: "v", MountPath: "/data",
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}}
		Expect(as("reader", "").Create(ctx, obj.DeepCopy())).To(refused("sampan-secret-references", "you may not get ConfigMap settings in namespace "+ns+", which volumes.configMap names"))
	})

	It("is not held to it by what they do not name", func(ctx SpecContext) {
		for _, obj := range []client.Object{taskGit("db"), sandboxGit("db"), named("pull", sandboxPull("db"))} {
			obj.SetNamespace(ns)
			Expect(api.Client.Create(ctx, obj)).To(Succeed(), "an administrator made it")
			before := obj.DeepCopyObject().(client.Object)
			obj.SetAnnotations(map[string]string{"note": "a"})
			obj.SetFinalizers([]string{"example.com/hold"})
			if t, ok := obj.(*v1alpha1.AgentTask); ok {
				t.Spec.State = v1alpha1.TaskCancelled
			}
			Expect(as(tenant, "").Patch(ctx, obj, client.MergeFrom(before))).To(Succeed())
		}
		cm := registryOf("db")
		cm.Namespace = ns
		Expect(api.Client.Create(ctx, cm)).To(Succeed())
		before := cm.DeepCopy()
		cm.Labels, cm.Data["other"] = map[string]string{"a": "b"}, "secretName: tls"
		Expect(as(tenant, "").Patch(ctx, cm, client.MergeFrom(before))).To(Succeed(), "the registry itself is as it was")

		By("sending the key of a provider elsewhere, without naming another Secret")
		before = cm.DeepCopy()
		cm.Data["models.yaml"] = strings.Replace(cm.Data["models.yaml"], "collector", "theirs", 1)
		Expect(as(tenant, "").Patch(ctx, cm, client.MergeFrom(before))).To(refused("sampan-registry-secrets", "Secret db"))
	})

	DescribeTable("must be allowed to get all that a pool names to change its template", func(ctx SpecContext, text string, change func(*v1alpha1.SandboxPool)) {
		pool := objects.MakePool("x", 1)
		pool.Namespace = ns
		pool.Spec.Template.Workspace.Git = v1alpha1.GitSource{URL: "https://git.example/r.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: "db"}}
		pool.Spec.Template.CABundle = v1alpha1.KeyReference{Name: "ca", Key: "ca.crt"}
		Expect(api.Client.Create(ctx, pool)).To(Succeed(), "an administrator made it")
		grant(ctx, "editor", ns, rule("sampan.dev", "*"), mayGet("secrets", "other"))
		before := pool.DeepCopy()
		pool.Annotations, pool.Spec.Replicas = map[string]string{"note": "a"}, new(int32(2))
		Eventually(func() error { return as("editor", "").Patch(ctx, pool.DeepCopy(), client.MergeFrom(before)) }).WithTimeout(patience).
			Should(Succeed(), "what is not of the template may be changed")
		Expect(api.Client.Get(ctx, client.ObjectKeyFromObject(pool), pool)).To(Succeed())
		before = pool.DeepCopy()
		change(pool)
		err := as("editor", "").Patch(ctx, pool.DeepCopy(), client.MergeFrom(before))
		if text == "" {
			Expect(err).NotTo(HaveOccurred())
			return
		}
		Expect(err).To(refused("sampan-secret-references", text))
		grant(ctx, "editor", ns, mayGet("secrets", "db"), mayGet("configmaps", "ca"))
		Eventually(func() error { return as("editor", "").Patch(ctx, pool.DeepCopy(), client.MergeFrom(before)) }).WithTimeout(patience).Should(Succeed())
	},
		Entry("where only the URL is another", "you may not get Secret db", func(p *v1alpha1.SandboxPool) {
			p.Spec.Template.Workspace.Git.URL = "https://theirs.example/r.git"
		}),
		Entry("where only the image is another", "you may not get Secret db", func(p *v1alpha1.SandboxPool) { p.Spec.Template.Image = "theirs:1" }),
		Entry("and each ConfigMap", "you may not get ConfigMap ca", func(p *v1alpha1.SandboxPool) {
			p.Spec.Template.Workspace.Git.CredentialsSecretRef, p.Spec.Template.Image = v1alpha1.SecretReference{}, "theirs:1"
		}),
		Entry("but not what it no longer names", "", func(p *v1alpha1.SandboxPool) { p.Spec.Template = v1alpha1.SandboxTemplate{Image: "theirs:1"} }),
	)

	It("may write a registry without Secrets, and one with eight, and needs the right to all for more", func(ctx SpecContext) {
		plain := objects.MakeRegistry("default", "version: 1\nproviders: {s: {type: scripted, script: {configMapName: s, key: k}}}\nmodels: [{id: m, provider: s}]\n")
		Expect(dry(ctx, plain)).To(Succeed())
		names := []string{"s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"}
		grant(ctx, tenant, ns, mayGet("secrets", names...))
		granted(ctx, registryOf(append(names[:8:8], names[:8]...)...))
		Expect(dry(ctx, registryOf(names...))).To(MatchError(ContainSubstring("names more than 8 Secrets; who writes it must be allowed to get all Secrets in namespace " + ns)))
		Expect(dry(ctx, registryOf("s1", "s2", "s3", "s4", "s5", "s6", "s7", "tls"))).To(refused("sampan-registry-secrets", "Secret tls"))
		grant(ctx, tenant, ns, mayGet("secrets"))
		granted(ctx, registryOf(names...))
		large := registryOf("db")
		large.Data["models.yaml"] += "# " + strings.Repeat("secretName: a ", 18000)
		Expect(dry(ctx, large)).To(Succeed(), "it costs no more than it may")
		large.Data["models.yaml"] += strings.Repeat("#", 20000)
		Expect(dry(ctx, large)).To(MatchError(ContainSubstring("at most 256 KiB")))
	})

	It("must be allowed to get it everywhere for the registry that serves every namespace", func(ctx SpecContext) {
		const system = "sampan-system"
		label := func(ctx SpecContext, value *string) error {
			patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{guarded: value}}})
			Expect(err).NotTo(HaveOccurred())
			return api.Client.Patch(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}}, client.RawPatch(types.MergePatchType, patch))
		}
		Expect(label(ctx, new("true"))).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(label(ctx, nil)).To(Succeed()) })
		ns = system
		grant(ctx, tenant, system, rule("", "configmaps"), rule("", "secrets"))
		Eventually(func() error { return dry(ctx, registryOf("db")) }).WithTimeout(patience).
			Should(refused("sampan-registry-secrets", "you may not get Secret db in all namespaces, which this registry serves"))
		grant(ctx, tenant, "", mayGet("secrets", "db"))
		granted(ctx, registryOf("db"))
	})

	It("is not the operator by a name, nor by all rights in a namespace", func(ctx SpecContext) {
		name := "system:serviceaccount:" + ns + ":sampan-controller-manager"
		grant(ctx, name, ns, rule("sampan.dev", "*"), rbacv1.PolicyRule{APIGroups: []string{"operator.sampan.dev"}, Resources: []string{"*"}, Verbs: []string{"*"}})
		obj := taskGit("db")
		obj.SetNamespace(ns)
		Eventually(func() error {
			return account(ns, "sampan-controller-manager", "").Create(ctx, obj.DeepCopyObject().(client.Object))
		}).
			WithTimeout(patience).Should(refused("sampan-secret-references", "Secret db"))
		sb := sandboxGit("db")
		sb.SetNamespace(ns)
		Expect(account("sampan-system", "sampan-controller-manager", "").Create(ctx, sb)).To(Succeed(), "who makes a task's Sandbox has no right to Secrets")
	})
})

var _ = Describe("A registry with a hidden Secret", func() {
	It("is refused by the operator, since admission did not see it", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		w.create(objects.MakeRegistry(w.ns, strings.Replace(objects.RegistryDocument, "secretName: model-keys", `"secret\x4eame": model-keys`, 1)), objects.MakeTask("x").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown RegistryInvalid"))
		Expect(w.podList()).To(BeEmpty())
	})
})
