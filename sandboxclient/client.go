// Package sandboxclient has a Sandbox run commands and hold files, by way of the API
// server: for frameworks that drive agents of their own, and for programs of people. It
// needs a rest.Config, the right to the subresources of sandboxes in the group
// subresources.sampan.dev that it uses, and a cluster with Sampan's record.
//
// Errors of the API server and of the Sandbox are those of
// k8s.io/apimachinery/pkg/api/errors; CodeOf gives the Sandbox's own code. Any other
// error is about the connection, or the context's.
package sandboxclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

const (
	// groupPath is where the subresources are.
	groupPath = "/apis/subresources.sampan.dev/v1alpha1/"
	// requestDeadline bounds what neither runs a command nor moves an archive: kube-apiserver
	// gives such a request a minute.
	requestDeadline = 2 * time.Minute
	// longDeadline bounds all else. The API gives a request an hour.
	longDeadline = time.Hour + time.Minute
	// maxAnswerBytes bounds an answer of JSON, and maxErrorBytes one that says what went wrong.
	maxAnswerBytes = 64 << 20
	maxErrorBytes  = 1 << 20
)

// resource is what errors name that do not say it themselves.
var resource = schema.GroupResource{Group: "subresources.sampan.dev", Resource: "sandboxes"}

// Client reaches one Sandbox. It is safe for concurrent use.
type Client struct {
	http *http.Client
	base string
}

// New gives a client of a Sandbox. It does not connect. The Timeout of the config is not
// used: each request has a deadline of its own, and ends with its context.
func New(config *rest.Config, namespace, name string) (*Client, error) {
	for _, part := range []string{namespace, name} {
		if problems := content.IsPathSegmentName(part); part == "" || len(problems) > 0 {
			return nil, fmt.Errorf("%q/%q is no Sandbox", namespace, name)
		}
	}
	config = rest.CopyConfig(config)
	config.Timeout = 0
	host, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("the address of the API server: %w", err)
	}
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the API server: %w", err)
	}
	base := strings.TrimSuffix(host.String(), "/") + groupPath + "namespaces/" + url.PathEscape(namespace) + "/sandboxes/" + url.PathEscape(name)
	return &Client{base: base, http: &http.Client{
		Transport:     c.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // it would get the token
	}}, nil
}

// CodeOf gives the code by which a Sandbox says what an error is about; it is empty where
// the error is not a Sandbox's.
func CodeOf(err error) Code {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return ""
	}
	details := status.Status().Details
	if details == nil || len(details.Causes) == 0 {
		return ""
	}
	return Code(details.Causes[0].Type)
}

// Status gives the state of the Sandbox.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	st := new(Status)
	return st, c.call(ctx, http.MethodGet, "/status", nil, nil, st)
}

// StatusWithUsage is Status with what the workspace takes up, which takes a while to count.
func (c *Client) StatusWithUsage(ctx context.Context) (*Status, error) {
	st := new(Status)
	return st, c.call(ctx, http.MethodGet, "/status?usage", nil, nil, st)
}

// call sends a short request and decodes its answer into out, if there is one.
func (c *Client) call(ctx context.Context, method, route string, h http.Header, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestDeadline)
	defer cancel()
	return c.exchange(ctx, method, route, h, bytes.NewReader(body), out)
}

// exchange is call with a deadline of the caller's.
func (c *Client) exchange(ctx context.Context, method, route string, h http.Header, body io.Reader, out any) error {
	resp, err := c.send(ctx, method, route, h, body)
	if err != nil {
		return err
	}
	defer drain(resp)
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswerBytes)).Decode(out); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}

// callJSON is call with a body of JSON.
func (c *Client) callJSON(ctx context.Context, method, route string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.call(ctx, method, route, nil, body, out)
}

// send gives the response of a success; anything else is an error.
func (c *Client) send(ctx context.Context, method, route string, h http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+route, body)
	if err != nil {
		return nil, err
	}
	for k, v := range h {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer drain(resp)
	return nil, errorOf(resp)
}

// errorOf is the error that an answer says.
func errorOf(resp *http.Response) error {
	var status metav1.Status
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	if err == nil && json.Unmarshal(data, &status) == nil && status.Kind == "Status" && int(status.Code) == resp.StatusCode {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return apierrors.NewGenericServerResponse(resp.StatusCode, resp.Request.Method, resource, "", string(data), 0, true)
}

// drain lets the connection be used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // it is over anyway
	_ = resp.Body.Close()
}

// statusOf is the error of a Sandbox as the API gives it.
func statusOf(e *api.Error) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(e.Code.Status()), Message: e.Message, //nolint:gosec // three digits
		Details: &metav1.StatusDetails{Kind: "sandboxes", Causes: []metav1.StatusCause{{Type: metav1.CauseType(e.Code), Message: e.Message}}},
	}}
}
