// Package reached has a sandbox's server answer as the aggregated API does, without a
// cluster: no rights are checked, and there is one Sandbox.
package reached

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// The Sandbox that is there.
const (
	Namespace = "default"
	Name      = "workbench"
)

const prefix = "/apis/subresources.sampan.dev/v1alpha1/namespaces/" + Namespace + "/sandboxes/" + Name

// Handler passes requests to the Sandbox on to its server, by a transport that reaches it.
func Handler(server http.RoundTripper) http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport:     server,
		FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", "sandbox", "sandbox"
			p.Out.URL.RawPath = "/v1" + strings.TrimPrefix(p.In.URL.EscapedPath(), prefix)
			p.Out.URL.Path = "/v1" + strings.TrimPrefix(p.In.URL.Path, prefix)
		},
		ModifyResponse: asStatus,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasPrefix(req.URL.Path, prefix+"/") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		proxy.ServeHTTP(w, req)
	})
}

// asStatus gives an error of the server the form that the API gives it.
func asStatus(resp *http.Response) error {
	if resp.StatusCode < http.StatusBadRequest {
		return nil
	}
	var said api.Error
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return fmt.Errorf("an error that says nothing: %s", resp.Status)
	}
	data, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: int32(resp.StatusCode), Message: said.Message,
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseType(said.Code)}}},
	})
	if err != nil {
		return err
	}
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(string(data))), int64(len(data))
	resp.Header.Set("Content-Length", fmt.Sprint(len(data)))
	return nil
}

// Direct is a transport to a server of HTTP at a URL.
func Direct(at string) http.RoundTripper { return direct(at) }

type direct string

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	to, err := url.Parse(string(d))
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.URL.Host = to.Host
	return http.DefaultTransport.RoundTrip(req)
}
