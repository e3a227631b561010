package inpod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness/tool"
	sandboxapi "github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/sandbox/convert"
)

// guests are people and other agents that have the sandbox do something. They may do what
// tools may, and as those nothing before the workspace is there, and nothing beside a
// verify command or between one and the outputs that it has proven.
type guests struct {
	mu sync.Mutex
	// shut is why nobody is let in; nil lets them.
	shut error
	// busy: a task's run is under way.
	busy   bool
	inside map[*guest]struct{}
	// waiting counts those who wait for the workspace before they are let in.
	waiting int
	// left is sent to when the last one has left.
	left sync.Cond
	// came and used are sent to when somebody comes or leaves.
	came, used chan struct{}
	// resting keeps everybody out, whoever opens meanwhile.
	resting bool
}

// guest is somebody who was let in; one who is alone replaces the workspace.
type guest struct {
	cancel context.CancelFunc
	alone  bool
}

// errOccupied is the error of somebody who would replace the workspace below a run.
var errOccupied = fmt.Errorf("%w: a task runs in the Sandbox, and works in the workspace that would be replaced", tool.ErrInvalid)

func newGuests() *guests {
	g := &guests{shut: convert.ErrNotReady, inside: map[*guest]struct{}{}, came: make(chan struct{}, 1), used: make(chan struct{}, 1)}
	g.left.L = &g.mu
	return g
}

// enter lets somebody in; leave has to be called. The context ends when they have to go.
func (g *guests) enter(ctx context.Context, alone bool) (_ context.Context, leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.why(); err != nil {
		return nil, nil, err
	}
	if alone && g.busy {
		return nil, nil, errOccupied
	}
	ctx, cancel := context.WithCancel(ctx)
	one := &guest{cancel: cancel, alone: alone}
	g.inside[one] = struct{}{}
	g.seen()
	return ctx, func() {
		cancel()
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.inside, one)
		g.left.Broadcast()
		g.seen()
	}, nil
}

// arrive counts somebody who waits to be let in, until the wait is over. That uses the
// Sandbox already: its workspace may take long to be restored or checked out.
func (g *guests) arrive() (over func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.resting { // who is sent away has not used anything
		return func() {}
	}
	g.waiting++
	g.seen()
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.waiting--
	}
}

// seen tells that somebody came or left.
func (g *guests) seen() {
	for _, told := range []chan struct{}{g.came, g.used} {
		select {
		case told <- struct{}{}:
		default: // it is told already
		}
	}
}

// present reports whether somebody is there.
func (g *guests) present() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.inside) > 0 || g.waiting > 0
}

// close sends everybody away, and returns when they have gone.
func (g *guests) close(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = why
	g.sendAway(func(*guest) bool { return true })
}

// errResting is the error of somebody who comes while the Sandbox is being suspended.
var errResting = fmt.Errorf("%w: the Sandbox is being suspended; its workspace is kept, and there again in the next pod", convert.ErrNotReady)

// rest sends everybody away, returns when they have gone, and keeps them out until wake.
func (g *guests) rest() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resting = true
	g.sendAway(func(*guest) bool { return true })
}

// wake ends what rest has begun.
func (g *guests) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resting = false
}

// why is why nobody is let in; nil if somebody is. mu is held.
func (g *guests) why() error {
	if g.resting {
		return errResting
	}
	return g.shut
}

// sendAway returns when those have left who have to. mu is held.
func (g *guests) sendAway(who func(*guest) bool) {
	for one := range g.inside {
		if who(one) {
			one.cancel()
		}
	}
	for g.any(who) {
		g.left.Wait()
	}
}

func (g *guests) any(who func(*guest) bool) bool {
	for one := range g.inside {
		if who(one) {
			return true
		}
	}
	return false
}

// open lets people in again.
func (g *guests) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = nil
}

// openFirst lets people in who were kept out only because there was no workspace.
func (g *guests) openFirst() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if errors.Is(g.shut, convert.ErrNotReady) {
		g.shut = nil
	}
}

// closed is why nobody is let in, if that is so.
func (g *guests) closed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.why()
}

// occupied reports whether a run is under way.
func (g *guests) occupied() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.busy
}

// occupy says whether a run is under way. Who would replace its workspace has to go.
func (g *guests) occupy(busy bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy = busy; busy {
		g.sendAway(func(one *guest) bool { return one.alone })
	}
}

// errProving is the error of somebody who comes while a run is proven.
var errProving = fmt.Errorf("%w: nothing else runs from then on until the outputs of the run are taken", tool.ErrIsolated)

// proving is the sandbox of a run, which sends guests away before a verify command, and
// lets them in when the agent has work to do again.
type proving struct {
	*client.Client
	guests *guests
	// env is what a task brings into the Sandbox of a pool.
	env map[string]string
}

func (p *Runner) proving(at *v1alpha1.AgentTask) proving {
	env := map[string]string{}
	for _, e := range at.Spec.Sandbox.PoolRef.Env {
		env[e.Name] = ""
		if e.Value != nil {
			env[e.Name] = *e.Value
		}
	}
	return proving{Client: p.exec, guests: p.guests, env: env}
}

// Exec implements tool.Executor.
func (p proving) Exec(ctx context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
	if req.Isolated {
		p.guests.close(errProving)
	} else {
		p.guests.open()
	}
	if len(p.env) > 0 {
		env := maps.Clone(p.env)
		maps.Copy(env, req.Env)
		req.Env = env
	}
	return p.Client.Exec(ctx, req)
}

// guestRoutes are what guests may ask the sandbox's server for. To end all that runs is
// for the runner.
var guestRoutes = []string{
	"GET /v1/status", "POST /v1/exec", "POST /v1/exec/stream",
	"GET /v1/processes", "GET /v1/processes/{id}", "DELETE /v1/processes/{id}", "GET /v1/processes/{id}/stream",
	"POST /v1/processes/{id}/{action}",
	"GET " + backupPath, "PUT " + backupPath,
}

const backupPath = "/v1/backup"

// reception answers the requests of guests with what the sandbox's server does.
// ready is asked first: whether there is a workspace.
func (g *guests) reception(via http.RoundTripper, ready func(context.Context) error) http.Handler {
	pass := &httputil.ReverseProxy{
		Transport:     via,
		FlushInterval: -1,
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "sandbox" },
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			refuse(w, r, fmt.Errorf("%w: %w", tool.ErrExecutorGone, err))
		},
	}
	let := func(w http.ResponseWriter, r *http.Request) {
		over := g.arrive()
		err := ready(r.Context())
		over()
		if err != nil {
			refuse(w, r, err)
			return
		}
		ctx, leave, err := g.enter(r.Context(), r.Method == http.MethodPut && r.URL.Path == backupPath)
		if err != nil {
			refuse(w, r, err)
			return
		}
		defer leave()
		defer cutOff(ctx, w)()
		pass.ServeHTTP(w, r.WithContext(ctx))
	}
	mux := http.NewServeMux()
	for _, pattern := range guestRoutes {
		mux.HandleFunc(pattern, let)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, fmt.Errorf("%w: there is no %s %s for others than the runner", tool.ErrNotFound, r.Method, r.URL.Path))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not by the mux, which would answer some names of files with a redirect.
		if strings.HasPrefix(r.URL.EscapedPath(), sandboxapi.FilesPrefix) {
			let(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// cutOff ends a request with its context: who has to go does not stay for as long as a
// client takes to read. What it returns is to be called before the handler returns, as
// there is no response after that.
func cutOff(ctx context.Context, w http.ResponseWriter) func() {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		c := http.NewResponseController(w)
		_ = errors.Join(c.SetReadDeadline(time.Unix(1, 0)), c.SetWriteDeadline(time.Unix(1, 0))) // it may be over by now
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// refuse answers as the sandbox's server does.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := convert.FromError(err)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(sandboxapi.HeaderError, string(e.Code))
	if r.Method == http.MethodHead {
		w.Header().Set(sandboxapi.HeaderMessage, url.QueryEscape(e.Message))
	}
	w.WriteHeader(e.Code.Status())
	_ = json.NewEncoder(w).Encode(e) // who asked may have gone
}
