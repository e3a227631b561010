package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/sampan-dev/sampan/internal/record/wire"
)

// The subresources of a Sandbox, which are what its server has under /v1.
const (
	sandboxes        = "sandboxes"
	sandboxExec      = "exec"
	sandboxProcesses = "processes"
	sandboxFiles     = "files"
	sandboxBackup    = "backup"
	sandboxStatus    = "status"
)

// maxSandboxRequests bounds the requests to sandboxes that one user has at once: a
// framework that has many agents may be one user. maxSandboxes bounds those of all: each
// may hold some hundred KiB of what is on its way.
const (
	maxSandboxRequests = 128
	maxSandboxes       = 384
)

// forSandboxes are the headers that are passed on to a sandbox.
var forSandboxes = []string{
	"Accept", "Content-Type", "If-Match", "If-None-Match", "Range", "Last-Event-Id", "Sampan-Mode", "Sampan-Digest", "Sampan-Exec-Id",
}

// sandboxSubresource is what somebody may have a sandbox do.
type sandboxSubresource struct {
	resource
	*forwarder
	name    string
	methods []string
	// subpath: there is more below it.
	subpath bool
}

var _ rest.Connecter = &sandboxSubresource{}

// addSandboxes adds the subresources to what is installed.
func (f *forwarder) addSandboxes(storage map[string]rest.Storage) {
	storage[sandboxes] = resource{"sandbox"}
	add := func(name string, subpath bool, methods ...string) {
		storage[sandboxes+"/"+name] = &sandboxSubresource{forwarder: f, name: name, subpath: subpath, methods: methods}
	}
	add(sandboxExec, true, http.MethodPost)
	add(sandboxProcesses, true, http.MethodGet, http.MethodPost, http.MethodDelete)
	add(sandboxFiles, true, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete)
	add(sandboxBackup, false, http.MethodGet, http.MethodPut)
	add(sandboxStatus, false, http.MethodGet)
}

// NewConnectOptions implements rest.Connecter. The parameters are read by the sandbox.
func (s *sandboxSubresource) NewConnectOptions() (options apiObject, subpath bool, key string) {
	return nil, s.subpath, ""
}

// ConnectMethods implements rest.Connecter.
func (s *sandboxSubresource) ConnectMethods() []string { return s.methods }

// Connect implements rest.Connecter. Who gets here may do this with a Sandbox of that name:
// the request was authorized, by its method and the subresource.
func (s *sandboxSubresource) Connect(ctx context.Context, name string, _ apiObject, responder rest.Responder) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := s.answer(ctx, name, w, req, responder); err != nil {
			responder.Error(asStatus(err))
		}
	}), nil
}

func (s *sandboxSubresource) answer(ctx context.Context, name string, w http.ResponseWriter, req *http.Request, responder rest.Responder) error {
	where, err := s.path(ctx, name, req)
	if err != nil {
		return err
	}
	ctx, end, err := s.begin(ctx, s.sandboxUsers)
	if err != nil {
		return err
	}
	defer end()
	if !s.places.TryAcquire(1) {
		return apierrors.NewTooManyRequests(fmt.Sprintf("%d requests to sandboxes are under way, which is the most at once", maxSandboxes), retryAfterSeconds)
	}
	defer s.places.Release(1)
	base, via, err := s.record.findPatient(ctx)
	if err != nil {
		return err
	}
	return s.forward(w, req.WithContext(ctx), base+where, via, responder, passing{strip: stripForSandbox, failed: lostOnTheWay})
}

func stripForSandbox(out *http.Request) {
	sent := out.Header
	out.Header = http.Header{}
	for _, h := range forSandboxes {
		if values, ok := sent[h]; ok {
			out.Header[h] = values
		}
	}
}

// lostOnTheWay is the error of a request without an answer. What may have been done must
// not be taken for what may be asked for again.
func lostOnTheWay(req *http.Request, err error) error {
	var dial *net.OpError
	known := unanswered(req.Context(), err)
	var status apierrors.APIStatus
	switch {
	case errors.As(known, &status), errors.As(err, &dial) && dial.Op == "dial", req.Method == http.MethodGet, req.Method == http.MethodHead:
		return known
	}
	return failure(http.StatusBadGateway, metav1.StatusReasonInternalError, fmt.Errorf("the connection was lost; what came of the request is not known: %w", err), 0)
}

// path is where the server of the record passes on what is asked for. What is below the
// subresource stays as it was escaped.
func (s *sandboxSubresource) path(ctx context.Context, name string, req *http.Request) (string, error) {
	info, ok := request.RequestInfoFrom(ctx)
	if !ok {
		return "", errors.New("the request has no path")
	}
	where := wire.ReachPath(info.Namespace, name) + "/" + s.name
	_, below, found := strings.Cut(req.URL.EscapedPath(), "/"+sandboxes+"/"+name+"/"+s.name+"/")
	if !found {
		return where, nil
	}
	parts := strings.Split(strings.TrimSuffix(req.URL.Path, "/"), "/")[1:]
	if slices.ContainsFunc(parts, func(p string) bool { return p == ".." || p == "." || p == "" }) {
		return "", apierrors.NewBadRequest(fmt.Sprintf("the path %.256q has a part that names no file", req.URL.Path))
	}
	return where + "/" + below, nil
}
