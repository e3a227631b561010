package deaths

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm/scripted"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/testing/testca"
)

const (
	// maxPods bounds a run: one that makes no way between deaths never ends.
	maxPods = 300
	// maxFaults is how many end a run.
	maxFaults = 5
	// sleepSteps is how many steps a silent pod sleeps through.
	sleepSteps = 10
)

// silent is for handshakes that deaths cut off.
var silent = log.New(io.Discard, "", 0)

// run is one run of the task, through all its pods.
type run struct {
	plan      Plan
	dir, mark string
	record    *recordServer
	// client asks the record's server.
	client                      *http.Client
	recordURL, modelURL, caFile string
	model                       *scripted.Server

	// old are silent pods that were woken, or will be.
	old sync.WaitGroup

	mu    sync.Mutex
	out   Outcome
	pods  map[string]*pod
	now   *pod
	steps int
	// asleep are silent pods, and when they wake up.
	asleep     []sleeper
	modelCalls int
	acked      []appended
	// trees are the workspaces of checkpoints, and last is the last acknowledged one.
	trees   map[kept]string
	last    *kept
	reports []report
}

type sleeper struct {
	pod    *pod
	wakeAt int
}

// appended are lines that were acknowledged.
type appended struct {
	first int64
	lines []byte
}

// Run makes one run after a plan. An error says that the bench itself failed.
func Run(plan Plan) (Outcome, error) {
	began := time.Now()
	dir, err := os.MkdirTemp("", "d")
	if err != nil {
		return Outcome{}, err
	}
	r := &run{
		plan: plan, dir: dir, mark: filepath.Base(dir), out: Outcome{Plan: plan, Deaths: map[string]int{}},
		pods: map[string]*pod{}, trees: map[kept]string{},
	}
	err = errors.Join(r.whole(), os.RemoveAll(dir))
	r.out.Steps, r.out.Took = r.steps, time.Since(began)
	return r.out, err
}

// whole sets everything up, lives through the run, and checks.
func (r *run) whole() (err error) {
	s, err := script(r.effects(), r.plan.Files)
	if err != nil {
		return err
	}
	r.model = scripted.NewServer(s, "")
	proxyTLS, err := r.certificates()
	if err != nil {
		return err
	}
	var stop func()
	if r.modelURL, stop, err = listen(r.modelEndpoint, nil); err != nil {
		return err
	}
	defer stop()
	if r.recordURL, stop, err = listen(r.recordProxy, proxyTLS); err != nil {
		return err
	}
	defer stop()
	if err := r.record.start(); err != nil {
		return err
	}
	if err := errors.Join(r.live(), r.tidy()); err != nil {
		return err
	}
	return r.check()
}

func (r *run) effects() string { return filepath.Join(r.dir, "effects") }
func (r *run) store() string   { return filepath.Join(r.dir, "store") }

// certificates writes those of the record, and gives the proxy's settings.
func (r *run) certificates() (*tls.Config, error) {
	ca, cert, err := testca.New()
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, err
	}
	r.caFile = filepath.Join(r.dir, "ca")
	certFile, keyFile := filepath.Join(r.dir, "cert"), filepath.Join(r.dir, "key")
	err = errors.Join(os.Mkdir(r.store(), 0o755), os.WriteFile(r.effects(), nil, 0o600), os.WriteFile(r.caFile, ca, 0o600),
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	r.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, DisableCompression: true}}
	r.record = &recordServer{settings: settings{Store: r.store(), CertFile: certFile, KeyFile: keyFile}, mark: r.mark + ".record"}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}, err
}

// live starts pod after pod until the run has ended.
func (r *run) live() error {
	var before *pod
	for attempt := 1; attempt <= maxPods; attempt++ {
		p, err := r.newPod(attempt)
		if err != nil {
			return err
		}
		if before != nil {
			if err := before.remove(); err != nil {
				return err
			}
		}
		ended, sleeps, err := r.follow(p)
		if err != nil || ended {
			return errors.Join(err, p.remove())
		}
		if before = p; sleeps {
			before = nil
		}
		if r.hopeless() {
			break
		}
	}
	r.fault(func(f *Faults) { f.FalseEnds++ }, "the run does not end")
	if before == nil {
		return nil
	}
	return before.remove()
}

// hopeless says that so much went wrong that the rest would tell nothing more.
func (r *run) hopeless() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.out.Words) >= maxFaults
}

// follow waits for a pod's end, or until it is silent.
func (r *run) follow(p *pod) (ended, sleeps bool, err error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.died:
		if r.plan.Kind == Silent {
			r.sleep(p)
			return false, true, nil
		}
	case <-p.runner.done:
	case <-p.given:
	case <-late.C:
		r.fault(func(f *Faults) { f.FalseEnds++ }, "pod %d hangs: %s", p.attempt, p.runner.stderr.String())
		return false, false, nil
	}
	if err := r.gone(p); err != nil {
		return false, false, err
	}
	return r.exited(p), false, nil
}

// giveUp is how long a runner may go on whose sandbox is gone. One that has never seen it
// waits for it; the operator, which sees the container's end, ends the pod then.
const giveUp = 3 * time.Second

// gone waits for the end of a runner.
func (r *run) gone(p *pod) error {
	timer := time.NewTimer(giveUp)
	defer timer.Stop()
	select {
	case <-p.runner.done:
	case <-timer.C:
		p.runner.signal(syscall.SIGKILL)
	}
	return p.runner.wait()
}

// exited takes what a runner's end says, and reports whether it is the run's.
func (r *run) exited(p *pod) bool {
	state := p.runner.cmd.ProcessState
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return false
	}
	var rep report
	switch err := json.Unmarshal(p.runner.stdout.Bytes(), &rep); {
	case state.ExitCode() == exitFenced:
		r.mu.Lock()
		r.out.Fenced++
		r.mu.Unlock()
		return false
	case state.ExitCode() != 0 || err != nil:
		r.fault(func(f *Faults) { f.FalseEnds++ }, "the runner of pod %d failed: %s", p.attempt, p.runner.stderr.String())
		return false
	}
	if rep.Reason == harness.SandboxLost {
		return false
	}
	r.mu.Lock()
	r.reports = append(r.reports, rep)
	r.mu.Unlock()
	if r.plan.Files == 0 {
		r.checkRestored(p)
	}
	if why := wrongFinal(p.workspace); why != "" {
		r.fault(func(f *Faults) { f.WrongFinal++ }, "pod %d says %s: %s", p.attempt, rep.Reason, why)
	}
	return true
}

// sleep has a silent pod wake up some steps later, and end by itself.
func (r *run) sleep(p *pod) {
	r.mu.Lock()
	r.asleep = append(r.asleep, sleeper{p, r.steps + sleepSteps})
	r.mu.Unlock()
	r.old.Go(func() {
		if err := p.runner.wait(); err != nil {
			r.fault(func(f *Faults) { f.FalseEnds++ }, "the silent pod %d goes on and on", p.attempt)
		} else if p.runner.cmd.ProcessState.ExitCode() != exitFenced {
			r.exitedLate(p)
		}
		if err := p.remove(); err != nil {
			r.fault(func(f *Faults) { f.LeftRunning++ }, "the silent pod %d: %v", p.attempt, err)
		}
	})
}

// exitedLate takes the report of a silent pod, which may have no other end than the run.
func (r *run) exitedLate(p *pod) {
	var rep report
	if err := json.Unmarshal(p.runner.stdout.Bytes(), &rep); err != nil {
		r.fault(func(f *Faults) { f.FalseEnds++ }, "the silent pod %d ends with %s: %s", p.attempt, p.runner.cmd.ProcessState, p.runner.stderr.String())
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, rep)
}

// tidy ends what is left.
func (r *run) tidy() error {
	r.mu.Lock()
	r.wake(true)
	r.mu.Unlock()
	r.old.Wait()
	return r.record.stop()
}

// wake lets silent pods go on whose time has come.
func (r *run) wake(all bool) {
	var still []sleeper
	for _, s := range r.asleep {
		if all || r.steps >= s.wakeAt {
			s.pod.all(syscall.SIGCONT)
		} else {
			still = append(still, s)
		}
	}
	r.asleep = still
}

func (r *run) add(p *pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pods[tokenOf(p.attempt)], r.now = p, p
	r.out.Pods++
}

func (r *run) podOf(token string) *pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pods[token]
}

// arrives counts a step, and says whether it is one to die at.
func (r *run) arrives(p *pod, what string) (Timing, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.dead || p != r.now {
		return "", false
	}
	r.steps++
	r.wake(false)
	if !r.plan.dies(r.steps) {
		return "", false
	}
	r.out.Deaths[what]++
	p.dead = r.plan.Kind != Record && r.plan.Kind != Sandbox
	return r.plan.Timing, true
}

// fault notes what must not be.
func (r *run) fault(count func(*Faults), format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	count(&r.out.Faults)
	r.out.Words = append(r.out.Words, fmt.Sprintf(format, args...))
}

// beforeRecord looks at what a pod is about to write: no tool runs meanwhile.
func (r *run) beforeRecord(p *pod, what string) (tree string) {
	switch {
	case r.plan.Files > 0:
	case what == "append":
		r.checkRestored(p)
	case what == "commit":
		return treeOf(p.workspace)
	}
	return ""
}

// afterRecord notes what the record has acknowledged. Without an answer nobody knows.
func (r *run) afterRecord(p *pod, what string, req *http.Request, body []byte, tree string, a *answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var c record.Checkpoint
	switch {
	case what == "append" && a != nil && a.status == http.StatusNoContent:
		var first int64
		_, _ = fmt.Sscan(req.URL.Query().Get("first"), &first)
		r.acked = append(r.acked, appended{first, body})
	case what == "commit" && json.Unmarshal(body, &c) == nil:
		k := kept{c.Turn, p.attempt}
		r.trees[k] = tree
		if a != nil && a.status == http.StatusNoContent {
			r.last = &k
		}
	case what == "latest" && a != nil && a.status == http.StatusOK && json.Unmarshal(a.body, &c) == nil:
		p.latest = &kept{c.Turn, int(c.Writer.Attempt)}
	}
}

// checkRestored compares a workspace that was restored with what it was when its
// checkpoint was taken, before the pod has changed it.
func (r *run) checkRestored(p *pod) {
	r.mu.Lock()
	began, latest, last := p.began || p.dead, p.latest, r.last // what a silent one believes is old
	p.began = true
	want := treeOf(os.DevNull) // of nothing
	if latest != nil {
		want = r.trees[*latest]
	}
	r.mu.Unlock()
	if began {
		return
	}
	if got := treeOf(p.workspace); got != want {
		r.fault(func(f *Faults) { f.WrongTrees++ }, "pod %d goes on from %v with another tree", p.attempt, latest)
	}
	if last != nil && (latest == nil || latest.turn < last.turn) {
		r.fault(func(f *Faults) { f.WrongTrees++ }, "pod %d goes on from %v, after %v was acknowledged", p.attempt, latest, *last)
	}
}
