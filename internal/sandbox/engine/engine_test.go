package engine_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/conformance"
	"github.com/sampan-dev/sampan/internal/sandbox/conformance/conformancetest"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, opts engine.Options) *engine.Engine {
	t.Helper()
	e, err := engine.New(t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestConformance(t *testing.T) {
	conformancetest.Run(t, conformance.Cases(), func(t *testing.T) conformance.Subject {
		e := open(t, engine.Options{})
		return conformance.Subject{Executor: e, Workspace: e.Workspace()}
	})
}

// A command that cannot run since the workspace is gone is told so, and not that
// its shell is missing.
func TestWorkspaceThatIsGone(t *testing.T) {
	e := open(t, engine.Options{})
	if err := os.RemoveAll(e.Workspace()); err != nil {
		t.Fatal(err)
	}
	_, err := e.Exec(t.Context(), tool.ExecRequest{Shell: "true"})
	if !errors.Is(err, tool.ErrInvalid) || !strings.Contains(err.Error(), "workspace itself") {
		t.Errorf("%v", err)
	}
}
