// Command provisioner serves the PersistentVolumeClaims of a development cluster with
// folders of its machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// provisionerName is what the cluster's StorageClass calls the provisioner.
const provisionerName = "sampan.dev/folder"

// folders gives every claim of the cluster's StorageClass a folder of the node.
type folders struct{ dir string }

func main() {
	kubeconfig := flag.String("kubeconfig", "", "File with which to reach the API server.")
	dir := flag.String("dir", "", "Folder in which each volume is a folder.")
	port := flag.Int("metrics-port", 0, "Port of 127.0.0.1 at which metrics are served.")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *dir, int32(*port)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves claims until ctx ends.
func run(ctx context.Context, kubeconfig, dir string, metricsPort int32) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	controller.NewProvisionController(ctx, client, provisionerName, &folders{dir: dir},
		controller.LeaderElection(false), controller.MetricsAddress("127.0.0.1"), controller.MetricsPort(metricsPort)).Run(ctx)
	return nil
}

// Provision implements controller.Provisioner. Everybody may write to the folder, as
// pods of every user share the class.
func (f *folders) Provision(_ context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	path := filepath.Join(f.dir, o.PVName)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("creating the folder of volume %s: %w", o.PVName, err)
	}
	if err := os.Chmod(path, 0o777); err != nil { // whatever the umask is
		return nil, controller.ProvisioningFinished, fmt.Errorf("opening the folder of volume %s to pods: %w", o.PVName, err)
	}
	kind := corev1.HostPathDirectory
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &kind}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete implements controller.Provisioner.
func (f *folders) Delete(_ context.Context, pv *corev1.PersistentVolume) error {
	return os.RemoveAll(filepath.Join(f.dir, filepath.Base(pv.Name)))
}
