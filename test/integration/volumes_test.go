package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = Describe("A volume of a template", func() {
	claim := func(name string) func(*v1alpha1.Sandbox) {
		return func(sb *v1alpha1.Sandbox) {
			sb.Spec.Template.Volumes = []v1alpha1.Volume{{Name: "data", MountPath: "/data",
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}}
		}
	}

	It("is not the workspace of a Sandbox", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.newPolicy("version: 1\nvolumes: {types: [persistentVolumeClaim]}\n")
		free := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "free", Namespace: "default"}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Gi")}}}}
		w.create(free, objects.MakeSandbox("theirs").With(persistent).Obj(),
			objects.MakeSandbox("self").With(persistent).With(claim("self")).Obj(),
			objects.MakeSandbox("thief").With(claim("theirs")).Obj(), objects.MakeSandbox("honest").With(claim("free")).Obj())
		w.settle()
		Expect(w.ready("theirs")).To(Equal("False PodPending"))
		Expect(w.ready("honest")).To(Equal("False PodPending"))
		for name, of := range map[string]string{"thief": "theirs", "self": "self"} {
			Expect(w.ready(name)).To(Equal("False PolicyViolation"))
			Expect(meta.FindStatusCondition(w.sandbox(name).Status.Conditions, v1alpha1.ConditionReady).Message).
				To(Equal("spec.template.volumes[0]: PersistentVolumeClaim " + of + " is the workspace of a Sandbox, which no other pod may mount"))
		}
	})

	It("of every kind is as the API server fills it in", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.newPolicy("version: 1\nvolumes: {types: [emptyDir, configMap, secret, persistentVolumeClaim, ephemeral, csi]}\n")
		sb := objects.MakeSandbox("box").With(claim("free")).With(func(sb *v1alpha1.Sandbox) {
			sb.Spec.Template.Volumes = append(sb.Spec.Template.Volumes,
				v1alpha1.Volume{Name: "a", MountPath: "/mnt/a", EmptyDir: &corev1.EmptyDirVolumeSource{}},
				v1alpha1.Volume{Name: "b", MountPath: "/mnt/b", ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "b"}}},
				v1alpha1.Volume{Name: "c", MountPath: "/mnt/c", Secret: &corev1.SecretVolumeSource{SecretName: "c"}},
				v1alpha1.Volume{Name: "d", MountPath: "/mnt/d", CSI: &corev1.CSIVolumeSource{Driver: "d.example.com"}},
				v1alpha1.Volume{Name: "e", MountPath: "/mnt/e", Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
					Spec: corev1.PersistentVolumeClaimSpec{
						AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
						Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Gi")}}}}}},
			)
		}).Obj()
		w.create(sb)
		w.settle()
		pod := w.pod("box-1")
		want := podspec.Pod(podspec.Input{Sandbox: w.sandbox("box"), PodName: "box-1", RunnerImage: "runner:test", SandboxImage: "sandbox:test"})
		Expect(pod.Spec.Volumes).To(HaveLen(len(want.Spec.Volumes)))
		for i, v := range want.Spec.Volumes {
			if v.Name != "input" {
				Expect(pod.Spec.Volumes[i]).To(BeComparableTo(v), "else a pod that is met would be deleted")
			}
		}
	})
})
