package openai

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/sampan-dev/sampan/internal/llm"
)

// errProxyAddress does not repeat the address, for the password that may be in it.
var errProxyAddress = errors.New("the proxy's address in HTTP_PROXY or HTTPS_PROXY cannot be read; it must be http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")

// proxy is the one that the environment names for a request. Go takes an address
// that it cannot read for none; here that is an error, since who sets a proxy does
// not want it to be passed by.
func proxy(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if err != nil || u == nil && !readable(proxyVariable(r.URL.Scheme)) {
		return nil, errProxyAddress
	}
	return u, nil
}

// proxyVariable is what the environment says for a scheme.
func proxyVariable(scheme string) string {
	name := scheme + "_proxy"
	if v := os.Getenv(strings.ToUpper(name)); v != "" {
		return v
	}
	return os.Getenv(name)
}

// readable says whether an address can be read, with its scheme or without.
func readable(address string) bool {
	if _, err := url.Parse(address); err == nil {
		return true
	}
	_, err := url.Parse("http://" + address)
	return err == nil
}

// proxyError is a proxy's refusal to connect to the server.
type proxyError struct{ status int }

// Error implements error.
func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy answered %d %s", e.status, http.StatusText(e.status))
}

// proxyAnswered tells a proxy's refusal from the server's, and keeps its words
// out: a proxy has no business with what it passes on.
func proxyAnswered(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{resp.StatusCode}
}

// proxyFailure is what to do about a proxy that is wrongly set up, or nil for
// any other error.
func proxyFailure(err error) *llm.Error {
	var refused *proxyError
	switch {
	case errors.Is(err, errProxyAddress):
		return &llm.Error{Category: llm.CredentialConfig, Err: err, Message: err.Error()}
	case !errors.As(err, &refused):
		return nil
	case refused.status == http.StatusProxyAuthRequired:
		return &llm.Error{Category: llm.CredentialConfig, Err: refused, Status: refused.status,
			Message: refused.Error() + ": HTTPS_PROXY needs a user and a password that are right"}
	case refused.status < http.StatusInternalServerError:
		return &llm.Error{Category: llm.CredentialConfig, Err: refused, Status: refused.status,
			Message: refused.Error() + ": it does not let this server be reached; NO_PROXY names servers to be reached without it"}
	}
	return &llm.Error{Category: llm.Network, Retryable: true, Err: refused, Status: refused.status,
		Message: "the server could not be reached: " + refused.Error()}
}
