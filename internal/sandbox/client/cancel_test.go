package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/sandbox/convert"
)

// TestExecCancelOvertakes: the kill of a cancelled command travels on a
// connection of its own, and may be there before the command. Exec must not
// return before the command that comes after it is dead.
func TestExecCancelOvertakes(t *testing.T) {
	overtook, killed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	asked := false
	mux := http.NewServeMux()
	ctx, cancel := context.WithCancel(t.Context())
	mux.HandleFunc("POST /v1/exec", func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		<-overtook
		<-killed
		fail(w, tool.ErrKilled)
	})
	mux.HandleFunc("DELETE /v1/processes/{id}", func(w http.ResponseWriter, _ *http.Request) {
		if !asked {
			asked = true
			fail(w, tool.ErrNotFound)
			close(overtook)
			return
		}
		once.Do(func() { close(killed) })
		w.WriteHeader(http.StatusNoContent)
	})
	c := client.New(listen(t, mux))
	t.Cleanup(func() { _ = c.Close() })
	t.Cleanup(func() { once.Do(func() { close(killed) }) })

	if _, err := c.Exec(ctx, tool.ExecRequest{Shell: "sleep 1000"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Exec gave %v, want %v", err, context.Canceled)
	}
	select {
	case <-killed:
	default:
		t.Error("Exec returned while the command still ran")
	}
}

func fail(w http.ResponseWriter, err error) {
	e := convert.FromError(err)
	w.Header().Set(api.HeaderError, string(e.Code))
	w.WriteHeader(e.Code.Status())
	_ = json.NewEncoder(w).Encode(e)
}

// listen serves h on a unix socket until the test ends.
func listen(t *testing.T, h http.Handler) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ReadHeaderTimeout: time.Second}}
	s.Start()
	t.Cleanup(s.Close)
	return socket
}
