package inpod

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/record/wire"
	"github.com/sampan-dev/sampan/internal/sandbox/convert"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/tunnel"
)

// beCalled keeps a connection to the server of the record, until ctx ends, over which
// people and other agents reach the sandbox. Without such a server nobody does.
func (p *Runner) beCalled(ctx context.Context, w *watcher) error {
	base := os.Getenv(podapi.EnvRecordURL)
	if base == "" {
		return nil
	}
	ca, err := os.ReadFile(filepath.Join(podapi.InputDir, podapi.RecordCAFile))
	if err != nil {
		return fmt.Errorf("reading who signs the certificate of the record: %w", err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ca)
	sb, err := w.first(ctx)
	if err != nil {
		return nil //nolint:nilerr // told to stop
	}
	caller := &tunnel.Caller{
		URL: strings.TrimSuffix(base, "/") + wire.TunnelPath(sb.Namespace, sb.Name, string(sb.UID)),
		TLS: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS13},
		Token: func() (string, error) {
			token, err := os.ReadFile(filepath.Join(podapi.InputDir, podapi.RecordTokenFile))
			return strings.TrimSpace(string(token)), err
		},
		Handler: p.guests.reception(p.exec.Guests(), func(ctx context.Context) error { return p.welcome(ctx, w) }),
		OnState: sayOnce(text.NewLogWriter(os.Stderr)),
	}
	var running sync.WaitGroup
	defer running.Wait()
	if podapi.OwnerTask(sb) == nil && podapi.OwnerPool(sb) == nil {
		used := &activity{
			clock: clock.RealClock{}, sandbox: w.sandbox, came: p.guests.came, busy: p.inUse, taken: p.guests.occupied, log: text.NewLogWriter(os.Stderr),
			report: func(ctx context.Context, at time.Time) error { return p.api.noteActivity(ctx, sb, at) },
		}
		running.Go(func() { used.run(ctx) })
	}
	caller.Run(ctx)
	return nil
}

// answerDeadline is how long a guest waits for a sandbox that still starts.
const answerDeadline = 10 * time.Second

// sayOnce tells of the first of failures that follow each other.
func sayOnce(out io.Writer) func(error) {
	failing := false
	return func(err error) {
		if err != nil && !failing {
			_, _ = fmt.Fprintf(out, "Nobody can reach the sandbox for now: %v\n", err) // the run goes on
		}
		failing = err != nil
	}
}

// welcome prepares the sandbox for a guest: in a named Sandbox there may have been no task
// yet, for which its workspace was prepared.
func (p *Runner) welcome(ctx context.Context, w *watcher) error {
	sb := w.sandbox()
	if pool := podapi.OwnerPool(sb); pool != nil {
		return fmt.Errorf("%w: the Sandbox waits in SandboxPool %s for a task, which gets it unused", convert.ErrNotReady, pool.Name)
	}
	if err := p.guests.closed(); errors.Is(err, errResting) {
		return err
	}
	if podapi.OwnerTask(sb) == nil && !p.ready.Load() {
		if err := p.awaitBrought(ctx, sb); err != nil {
			return err
		}
		if _, err := p.prepare(ctx, sb, nil); err != nil {
			return fmt.Errorf("%w: %w", convert.ErrNotReady, err)
		}
		p.guests.openFirst()
	}
	if err := p.guests.closed(); err != nil || p.exec.Answered() {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	if err := p.exec.WaitReady(ctx); err != nil {
		return fmt.Errorf("%w: %w", convert.ErrNotReady, err)
	}
	return nil
}
