package engine_test

import (
	"testing"

	"go.uber.org/goleak"

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
	conformancetest.Run(t, func(t *testing.T) conformance.Subject {
		e := open(t, engine.Options{})
		return conformance.Subject{Executor: e, Workspace: e.Workspace()}
	})
}
