package crowd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sampan-dev/sampan/internal/testing/cluster"
)

// manager is the real program in a process of its own.
type manager struct {
	program, kubeconfig, log string

	// restarting is held while the process is replaced.
	restarting sync.Mutex
	cmd        *exec.Cmd
	file       *os.File
}

func (m *manager) build(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", m.program, "./cmd/manager")
	cmd.Dir = cluster.Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the manager: %w\n%s", err, out)
	}
	return nil
}

// start runs the manager with the memory limit of the Deployment that is delivered.
func (m *manager) start(ctx context.Context) (err error) {
	if m.file, err = os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	// Should it run away, it takes itself down and not the machine.
	m.cmd = exec.CommandContext(ctx, "/bin/sh", "-c", `ulimit -v 8388608 && exec "$0" "$@"`, m.program, "--operator-namespace="+operatorNamespace, "--runner-image=runner:test",
		"--metrics-bind-address=0", "--health-probe-bind-address=0")
	memory, err := memoryLimit()
	if err != nil {
		return err
	}
	m.cmd.Env = append(os.Environ(), "KUBECONFIG="+m.kubeconfig, "GOMEMLIMIT="+memory)
	m.cmd.Stdout, m.cmd.Stderr = m.file, m.file
	return m.cmd.Start()
}

// memoryLimit is GOMEMLIMIT of config/manager.
func memoryLimit() (string, error) {
	objects, err := cluster.Load(filepath.Join(cluster.Root(), "config", "manager", "manager.yaml"))
	if err != nil {
		return "", err
	}
	for _, obj := range objects {
		if obj.GetKind() != "Deployment" {
			continue
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &d); err != nil {
			return "", err
		}
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			if e.Name == "GOMEMLIMIT" {
				return e.Value, nil
			}
		}
	}
	return "", fmt.Errorf("config/manager sets no GOMEMLIMIT")
}

// stop ends the manager as Kubernetes does.
func (m *manager) stop() error {
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("the manager is gone: %w: %s", err, m.tail())
	}
	if err := m.cmd.Wait(); err != nil {
		return fmt.Errorf("the manager ended: %w: %s", err, m.tail())
	}
	return m.file.Close()
}

// peakRSS is the most memory that the process ever had, in bytes.
func (m *manager) peakRSS() (int64, error) {
	m.restarting.Lock()
	defer m.restarting.Unlock()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("the manager is gone: %w: %s", err, m.tail())
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("the manager is gone: %s", m.tail())
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	return kb << 10, err
}

// tail is the end of the manager's log.
func (m *manager) tail() string {
	data, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(data[max(0, len(data)-2000):]))
}
