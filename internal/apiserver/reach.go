package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/tunnel"
)

// maxReached bounds the requests to sandboxes that are under way at once. Each may hold
// window bytes on each of its two ways.
const maxReached = 1024

// maxReach is how long one request to a sandbox may last.
const maxReach = time.Hour

// reach has sandboxes asked, over the connections that their runners keep. Whoever it is
// for may do so: the Front has seen to that.
type reach struct {
	hub       *tunnel.Hub
	sandboxes client.Reader
	clock     clock.PassiveClock
	// places bounds the requests that are under way.
	places *semaphore.Weighted
	// peers are the other replicas; nil where there are none.
	peers *peers
	// identify refuses everybody but the Front.
	identify func(*http.Request) error
}

func (r *reach) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, serve func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			if err := r.identify(req); err != nil {
				answerProblem(w, problemOf(err))
				return
			}
			if err := serve(w, req); err != nil {
				answerStatus(w, err)
			}
		})
	}
	handle(wire.ReachPattern, r.serve)
	handle("GET "+wire.ConnectedPattern, r.connected)
	return mux
}

// connected tells another replica whether a runner is connected to this one.
func (r *reach) connected(w http.ResponseWriter, req *http.Request) error {
	key := tunnel.Key{Namespace: req.PathValue("namespace"), Name: req.PathValue("name"), UID: req.PathValue("uid")}
	if !r.hub.Has(key) {
		return notFound("Sandbox %s is not connected to this replica", key.Name)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// serve has the sandbox answer a request, or gives the error that is to be answered with.
func (r *reach) serve(w http.ResponseWriter, req *http.Request) error {
	if !r.places.TryAcquire(1) {
		return apierrors.NewTooManyRequests(fmt.Sprintf("%d requests to sandboxes are under way, which is the most at once", maxReached), retryAfterSeconds)
	}
	defer r.places.Release(1)
	namespace, name := req.PathValue("namespace"), req.PathValue("name")
	sb := &v1alpha1.Sandbox{}
	switch err := r.sandboxes.Get(req.Context(), client.ObjectKey{Namespace: namespace, Name: name}, sb); {
	case apierrors.IsNotFound(err):
		return notFound("there is no Sandbox %s in namespace %s", name, namespace)
	case err != nil:
		return fmt.Errorf("%w: looking for Sandbox %s/%s: %w", record.ErrUnavailable, namespace, name, err)
	}
	ending := http.NewResponseController(w)
	until := r.clock.Now().Add(maxReach)
	if err := errors.Join(ending.SetReadDeadline(until), ending.SetWriteDeadline(until)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(req.Context(), maxReach)
	defer cancel()
	proxy, err := r.proxyTo(ctx, sb, req)
	if err != nil {
		return fmt.Errorf("%w: Sandbox %s may be connected to another replica: %w", record.ErrUnavailable, sb.Name, err)
	}
	var failed error
	proxy.FlushInterval = -1
	proxy.ErrorHandler = func(_ http.ResponseWriter, _ *http.Request, err error) { failed = notReached(sb, err) }
	proxy.ServeHTTP(w, req.WithContext(ctx))
	return failed
}

// proxyTo passes requests on over the connection of a Sandbox: by way of another replica
// where that has it and this one does not. What came by way of another replica ends here.
func (r *reach) proxyTo(ctx context.Context, sb *v1alpha1.Sandbox, req *http.Request) (*httputil.ReverseProxy, error) {
	key := keyOf(sb)
	if r.peers != nil && req.Header.Get(wire.Relayed) == "" && !r.hub.Has(key) {
		if proxy, err := r.peers.proxyTo(ctx, key, req.Header.Get("Authorization")); proxy != nil || err != nil {
			return proxy, err
		}
	}
	return &httputil.ReverseProxy{
		Transport: r.hub.To(key),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL, p.Out.Host = inSandbox(req), "sandbox"
			p.Out.Header.Del("Authorization") // the Front's
			p.Out.Header.Del(wire.Relayed)
		},
		ModifyResponse: saidBySandbox,
	}, nil
}

// inSandbox is what a request asks the sandbox's server for. A file's name stays as it was
// escaped.
func inSandbox(req *http.Request) *url.URL {
	prefix := wire.ReachPath(req.PathValue("namespace"), req.PathValue("name"))
	escaped := "/v1" + strings.TrimPrefix(req.URL.EscapedPath(), prefix)
	u := &url.URL{Scheme: "http", Host: "sandbox", Path: "/v1/" + req.PathValue("path"), RawPath: escaped, RawQuery: req.URL.RawQuery}
	return u
}

// notReached is the error of a sandbox that did not answer.
func notReached(sb *v1alpha1.Sandbox, err error) error {
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &status):
		return err
	case errors.Is(err, tunnel.ErrBusy):
		return apierrors.NewTooManyRequests(err.Error(), retryAfterSeconds)
	case !errors.Is(err, tunnel.ErrNoTunnel):
		return failure(http.StatusBadGateway, metav1.StatusReasonInternalError, fmt.Errorf("the connection to Sandbox %s was lost; what came of the request is not known: %w", sb.Name, err), 0)
	}
	why := "its runner has not called yet"
	if c := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Status != metav1.ConditionTrue {
		why = c.Reason + ": " + c.Message
	}
	return failure(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, fmt.Errorf("Sandbox %s cannot be reached: %s", sb.Name, why), retryAfterSeconds) //nolint:staticcheck // it is a kind
}

// saidBySandbox makes an error of the sandbox's server one as people get them. The code of
// the sandbox is that of the cause.
func saidBySandbox(resp *http.Response) error {
	if resp.StatusCode < http.StatusBadRequest {
		keepHeaders(resp)
		return nil
	}
	var said api.Error
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if json.Unmarshal(data, &said) != nil || said.Message == "" {
		said = api.Error{Code: api.Code(resp.Header.Get(api.HeaderError)), Message: http.StatusText(resp.StatusCode)}
	}
	code, message := resp.StatusCode, text.Inline(text.Clip(said.Message, maxMessage))
	if code == http.StatusUnauthorized { // that is for the API server to say
		code = http.StatusBadGateway
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Message: message,
		Reason:  reasons[code],
		Details: &metav1.StatusDetails{Kind: sandboxes, Causes: []metav1.StatusCause{{Type: metav1.CauseType(text.Inline(text.Clip(string(said.Code), 64))), Message: message}}},
	}}
}

// maxMessage bounds what people are told of a sandbox's words, in bytes.
const maxMessage = 4 << 10

// fromSandboxes are the headers of its answers that a sandbox, whose image may be anybody's,
// has passed on, and mediaTypes what its bodies may be said to be.
var (
	fromSandboxes = []string{"Content-Length", "Content-Range", "Accept-Ranges", "Etag", "Last-Modified", "Cache-Control", "Trailer",
		api.HeaderMode, api.HeaderPath, api.HeaderModTime, api.HeaderDigest, api.HeaderEntries, api.HeaderSkipped}
	mediaTypes = []string{"application/json", "application/octet-stream", "application/zstd", "text/event-stream"}
)

func keepHeaders(resp *http.Response) {
	kept := http.Header{"X-Content-Type-Options": {"nosniff"}, "Content-Type": {mediaTypes[1]}}
	for _, name := range fromSandboxes {
		if values, ok := resp.Header[name]; ok {
			kept[name] = values
		}
	}
	if said := resp.Header.Get("Content-Type"); slices.Contains(mediaTypes, said) {
		kept.Set("Content-Type", said)
	}
	resp.Header = kept
}

// reasons are those of Kubernetes for the statuses of the sandbox's server.
var reasons = map[int]metav1.StatusReason{
	http.StatusBadRequest:            metav1.StatusReasonBadRequest,
	http.StatusForbidden:             metav1.StatusReasonForbidden,
	http.StatusNotFound:              metav1.StatusReasonNotFound,
	http.StatusConflict:              metav1.StatusReasonConflict,
	http.StatusPreconditionFailed:    metav1.StatusReasonConflict,
	http.StatusRequestEntityTooLarge: metav1.StatusReasonRequestEntityTooLarge,
	http.StatusTooManyRequests:       metav1.StatusReasonTooManyRequests,
	http.StatusServiceUnavailable:    metav1.StatusReasonServiceUnavailable,
}
