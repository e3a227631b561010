package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sampan-dev/sampan/internal/sandbox/conformance"
	"github.com/sampan-dev/sampan/internal/sandbox/server"
	"github.com/sampan-dev/sampan/internal/testing/reached"
)

// TestConformanceFromAfar: a Sandbox is tried by way of the API server, what cannot be
// tried so is skipped with the reason, and nothing is left in its workspace.
func TestConformanceFromAfar(t *testing.T) {
	workspace := t.TempDir()
	h, err := server.NewHandler(server.Options{Workspace: workspace})
	if err != nil {
		t.Fatal(err)
	}
	box := httptest.NewServer(h)
	front := httptest.NewServer(reached.Handler(reached.Direct(box.URL)))
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		front.CloseClientConnections()
		front.Close()
		box.CloseClientConnections()
		box.Close()
	})
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: front.URL}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c", Namespace: reached.Namespace}},
		CurrentContext: "c",
	}, kubeconfig); err != nil {
		t.Fatal(err)
	}
	try := func(args ...string) (string, error) {
		var out strings.Builder
		code := 0
		root := rootCommand(&code)
		root.SetOut(&out)
		root.SetArgs(append([]string{"conformance", "--kubeconfig", kubeconfig, "--sandbox", reached.Name}, args...))
		err := root.ExecuteContext(t.Context())
		return out.String(), err
	}
	out, err := try()
	if err != nil || !strings.Contains(out, fmt.Sprintf("14 of %d cases passed", len(conformance.FromAfar()))) {
		t.Errorf("%v:\n%s", err, out)
	}
	for _, want := range []string{"ok    process/resume ", "skip  grep ", "only the sandbox's own runner may ask for", "skip  files/symlinks "} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if left, err := filepath.Glob(filepath.Join(workspace, "[^.]*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(workspace, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := try(); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("with a file of somebody's: %v", err)
	}
	if _, err := try("--namespace", "other"); err == nil {
		t.Error("a Sandbox of another namespace is there")
	}
	if _, err := try("--endpoint", "unix:///sb.sock"); err == nil || !strings.Contains(err.Error(), "give one of them") {
		t.Errorf("with two servers: %v", err)
	}
}
