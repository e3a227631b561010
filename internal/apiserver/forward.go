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
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

// maxPerUser bounds the answers that one user is sent at once. Each may be followed for an
// hour, and the server of the record gives maxStreams in all.
const maxPerUser = 16

// maxStatus bounds an answer that says what went wrong.
const maxStatus = 64 << 10

// forwarder has the server of the record answer what somebody may read.
type forwarder struct {
	record *RecordServer
	clock  clock.PassiveClock
	// users share answers out, by the name of a user; sandboxUsers those of sandboxes.
	users, sandboxUsers *quota
	// places bounds the requests to sandboxes.
	places *semaphore.Weighted
	// stopping ends when the server does.
	stopping context.Context
}

// begin takes one of a user's answers, until end is called. The context ends with the
// server, too.
func (f *forwarder) begin(ctx context.Context, users *quota) (_ context.Context, end func(), err error) {
	who, ok := request.UserFrom(ctx)
	if !ok {
		return nil, nil, errors.New("the request has no user")
	}
	if !users.take(who.GetName()) {
		return nil, nil, apierrors.NewTooManyRequests(fmt.Sprintf("%d requests of yours are being answered, which is the most at once; end one that follows a run, or try again", users.most), retryAfterSeconds)
	}
	ctx, cancel := f.bounded(ctx)
	return ctx, func() { cancel(); users.giveBack(who.GetName()) }, nil
}

// subresource is one of a task's, which can only be read.
type subresource struct {
	resource
	*forwarder
	// name is what the server of the record calls it.
	name string
	// subpath: there is more below it.
	subpath bool
}

var _ rest.Connecter = &subresource{}

// NewConnectOptions implements rest.Connecter. The parameters are read by the server of
// the record, which says what is wrong with them.
func (s *subresource) NewConnectOptions() (options apiObject, subpath bool, key string) {
	return nil, s.subpath, ""
}

// ConnectMethods implements rest.Connecter.
func (s *subresource) ConnectMethods() []string { return []string{http.MethodGet} }

// Connect implements rest.Connecter. Who gets here may read the subresource of a task of
// that name: the request was authorized.
func (s *subresource) Connect(ctx context.Context, name string, _ apiObject, responder rest.Responder) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := s.answer(ctx, name, w, req, responder); err != nil {
			responder.Error(asStatus(err))
		}
	}), nil
}

// answer answers a request, or gives the error that is to be answered with.
func (s *subresource) answer(ctx context.Context, name string, w http.ResponseWriter, req *http.Request, responder rest.Responder) error {
	where, err := s.path(ctx, name)
	if err != nil {
		return err
	}
	ctx, end, err := s.begin(ctx, s.users)
	if err != nil {
		return err
	}
	defer end()
	base, via, err := s.record.find(ctx)
	if err != nil {
		return err
	}
	// Nothing else of what somebody sends is for the server of the record.
	return s.forward(w, req.WithContext(ctx), base+where, via, responder, passing{
		strip:  func(out *http.Request) { out.Header, out.Body, out.ContentLength = http.Header{}, nil, 0 },
		failed: func(req *http.Request, err error) error { return unanswered(req.Context(), err) },
	})
}

// bounded ends with the client, and with this server.
func (f *forwarder) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(f.stopping, cancel)
	return ctx, func() { stop(); cancel() }
}

// path is where the server of the record has what was asked for.
func (s *subresource) path(ctx context.Context, name string) (string, error) {
	info, ok := request.RequestInfoFrom(ctx)
	if !ok {
		return "", errors.New("the request has no path")
	}
	parts := slices.Concat([]string{info.Namespace, name}, info.Parts[min(3, len(info.Parts)):])
	where := wire.ReadPath(info.Namespace, name) + "/" + s.name
	for i, part := range parts {
		if problems := content.IsPathSegmentName(part); len(problems) > 0 {
			return "", apierrors.NewBadRequest(fmt.Sprintf("there is nothing at %.64q, which %s", part, problems[0]))
		}
		if i > 1 {
			where += "/" + url.PathEscape(part)
		}
	}
	return where, nil
}

// passing is what is different between requests that are passed on.
type passing struct {
	// strip takes out of a request what is not for the server of the record.
	strip func(*http.Request)
	// failed makes an error of what became of it where there was no answer.
	failed func(*http.Request, error) error
}

// forward answers with what the server of the record does.
func (f *forwarder) forward(w http.ResponseWriter, req *http.Request, where string, via http.RoundTripper, responder rest.Responder, how passing) error {
	target, err := url.Parse(where)
	if err != nil {
		return fmt.Errorf("asking the record: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Transport:     via,
		FlushInterval: -1, // what is followed is sent as it comes
		Rewrite: func(r *httputil.ProxyRequest) {
			target.RawQuery = r.Out.URL.RawQuery
			r.Out.URL, r.Out.Host = target, target.Host
			how.strip(r.Out)
		},
		ModifyResponse: refusedBy,
		ErrorHandler: func(_ http.ResponseWriter, req *http.Request, err error) {
			responder.Error(asStatus(how.failed(req, err)))
		},
	}
	proxy.ServeHTTP(&patient{ResponseWriter: w, clock: f.clock}, req)
	return nil
}

// refusedBy is the error that an answer says, if it is one.
func refusedBy(resp *http.Response) error {
	if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusNotModified {
		return nil
	}
	if resp.Request.Method == http.MethodHead {
		return failure(int32(resp.StatusCode), "", errors.New(http.StatusText(resp.StatusCode)), 0) //nolint:gosec // three digits
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	var status metav1.Status
	if json.Unmarshal(data, &status) == nil && status.Kind == "Status" && int(status.Code) == resp.StatusCode {
		return &apierrors.StatusError{ErrStatus: status}
	}
	// It is this server that was refused, and not who asked it.
	var p wire.Problem
	if json.Unmarshal(data, &p) == nil && p.Message != "" {
		return fmt.Errorf("%w: its server answers %s: %s", record.ErrUnavailable, resp.Status, p.Message)
	}
	return fmt.Errorf("%w: its server answers %s", record.ErrUnavailable, resp.Status)
}

// unanswered is the error of a server that could not be asked.
func unanswered(ctx context.Context, err error) error {
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &status), errors.Is(err, record.ErrUnavailable):
		return err
	case ctx.Err() == nil:
		klog.FromContext(ctx).Error(err, "The server of the record does not answer")
	}
	return fmt.Errorf("%w: its server does not answer: %w", record.ErrUnavailable, err)
}

// patient gives a client some time for each part of an answer.
type patient struct {
	http.ResponseWriter
	clock clock.PassiveClock
}

// Write implements http.ResponseWriter.
func (p *patient) Write(data []byte) (int, error) {
	c := http.NewResponseController(p.ResponseWriter)
	if err := c.SetWriteDeadline(p.clock.Now().Add(writeDeadline)); err != nil {
		return 0, fmt.Errorf("giving the client a deadline: %w", err)
	}
	n, err := p.ResponseWriter.Write(data)
	if err == nil {
		err = c.Flush()
	}
	// Until there is more, nothing has to be taken.
	return n, errors.Join(err, c.SetWriteDeadline(time.Time{}))
}

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// storeState asks the server of the record how its store is.
func (r *RecordServer) storeState(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askDeadline)
	defer cancel()
	base, transport, err := r.find(ctx)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+wire.ReadStore, nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return unanswered(ctx, err)
	}
	if err := refusedBy(resp); err != nil {
		return errors.New(strings.TrimSpace(err.Error()))
	}
	return resp.Body.Close()
}
