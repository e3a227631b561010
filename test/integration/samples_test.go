package integration

import (
	"io/fs"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
)

// manifests are the YAML files that users are told to apply.
func manifests() []string {
	GinkgoHelper()
	var out []string
	for _, dir := range []string{"config/samples", "examples", "hack/demo"} {
		err := filepath.WalkDir(filepath.Join(cluster.Root(), dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasSuffix(path, ".yaml") && d.Name() != "kustomization.yaml" {
				out = append(out, path)
			}
			return err
		})
		Expect(err).NotTo(HaveOccurred())
	}
	return out
}

var _ = Describe("Every sample", func() {
	It("is accepted by the API server", func(ctx SpecContext) {
		kinds := map[string]int{}
		ns := newNamespace(ctx)
		for _, path := range manifests() {
			objs, err := cluster.Load(path)
			Expect(err).NotTo(HaveOccurred())
			for _, obj := range objs {
				if obj.GroupVersionKind().Group != v1alpha1.GroupVersion.Group {
					continue
				}
				By(path)
				obj.SetNamespace(ns)
				Expect(api.Client.Create(ctx, obj, client.DryRunAll, client.FieldValidation("Strict"))).To(Succeed(), path)
				kinds[obj.GetKind()]++
			}
		}
		for _, kind := range []string{"AgentTask", "Sandbox", "SandboxPool", "ModelProbe"} {
			Expect(kinds).To(HaveKey(kind), "there must be a sample of each kind")
		}
	})

	It("that is a registry is one", func() {
		found := 0
		for _, path := range manifests() {
			objs, err := cluster.Load(path)
			Expect(err).NotTo(HaveOccurred())
			for _, obj := range objs {
				if obj.GetKind() != "ConfigMap" || obj.GetName() != modelregistry.ConfigMapName {
					continue
				}
				document, _, err := unstructured.NestedString(obj.Object, "data", modelregistry.Key)
				Expect(err).NotTo(HaveOccurred())
				_, err = models.Parse([]byte(document))
				Expect(err).NotTo(HaveOccurred(), path)
				found++
			}
		}
		Expect(found).To(BeNumerically(">", 0))
	})
})
