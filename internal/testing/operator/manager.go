package operator

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sampan-dev/sampan/internal/testing/cluster"
)

// Manager is the real program in a process of its own, with its own rights.
type Manager struct {
	// Args are flags besides those that say where the manager is.
	Args []string
	// Env is added to the environment.
	Env []string

	program, kubeconfig, log string

	// restarting is held while the process is replaced.
	restarting sync.Mutex
	cmd        *exec.Cmd
	file       *os.File
}

// Build builds the manager, with build tags, for an API server. What it needs and its
// log are in the folder dir.
func Build(ctx context.Context, api *cluster.Cluster, dir string, tags ...string) (*Manager, error) {
	m := &Manager{program: filepath.Join(dir, "manager"), kubeconfig: filepath.Join(dir, "kubeconfig"), log: filepath.Join(dir, "manager.log")}
	if err := api.Kubeconfig(ctx, m.kubeconfig, Namespace, "sampan-controller-manager"); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", strings.Join(tags, ","), "-o", m.program, "./cmd/manager")
	cmd.Dir = cluster.Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the manager: %w\n%s", err, out)
	}
	return m, nil
}

// Start runs the manager with the environment of the Deployment that is delivered, its
// memory limit in it.
func (m *Manager) Start(ctx context.Context) (err error) {
	env, err := environment()
	if err != nil {
		return err
	}
	if m.file, err = os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	args := append([]string{"--operator-namespace=" + Namespace, "--runner-image=runner:test", "--health-probe-bind-address=0"}, m.Args...)
	// Should it run away, it takes itself down and not the machine.
	m.cmd = exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `ulimit -v 8388608 && exec "$0" "$@"`, m.program}, args...)...)
	m.cmd.Env = slices.Concat(os.Environ(), env, []string{"KUBECONFIG=" + m.kubeconfig}, m.Env)
	m.cmd.Stdout, m.cmd.Stderr = m.file, m.file
	return m.cmd.Start()
}

// environment is that of config/manager, save what depends on the pod.
func environment() (out []string, err error) {
	objects, err := cluster.Load(filepath.Join(cluster.Root(), "config", "manager", "manager.yaml"))
	if err != nil {
		return nil, err
	}
	for _, obj := range objects {
		if obj.GetKind() != "Deployment" {
			continue
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &d); err != nil {
			return nil, err
		}
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			if e.ValueFrom == nil {
				out = append(out, e.Name+"="+e.Value)
			}
		}
	}
	if !slices.ContainsFunc(out, func(e string) bool { return strings.HasPrefix(e, "GOMEMLIMIT=") }) {
		return nil, fmt.Errorf("config/manager sets no GOMEMLIMIT")
	}
	return out, nil
}

// Stop ends the manager as Kubernetes does.
func (m *Manager) Stop() error {
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("the manager is gone: %w: %s", err, m.Tail())
	}
	if err := m.cmd.Wait(); err != nil {
		return fmt.Errorf("the manager ended: %w: %s", err, m.Tail())
	}
	return m.file.Close()
}

// Restart ends the manager and starts another one; between is called when the first
// has ended.
func (m *Manager) Restart(ctx context.Context, between func()) error {
	m.restarting.Lock()
	defer m.restarting.Unlock()
	if err := m.Stop(); err != nil {
		return err
	}
	between()
	return m.Start(ctx)
}

// PeakRSS is the most memory that the process ever had, in bytes.
func (m *Manager) PeakRSS() (int64, error) {
	m.restarting.Lock()
	defer m.restarting.Unlock()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("the manager is gone: %w: %s", err, m.Tail())
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("the manager is gone: %s", m.Tail())
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	return kb << 10, err
}

// Tail is the end of the manager's log.
func (m *Manager) Tail() string {
	data, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(data[max(0, len(data)-2000):]))
}
