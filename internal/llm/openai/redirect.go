package openai

import (
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxRedirects bounds how often one request is sent on.
const maxRedirects = 3

// send sends a request, also to where the server moved it on the same host. A
// redirect to another host is not followed: the key is for the one that the
// registry names. Those that would turn the request into a GET are not followed
// either.
func (t *transport) send(w *watch, r *http.Request, x *exchange) (*http.Response, error) {
	for hops := 0; ; hops++ {
		resp, err := t.base.RoundTrip(t.outgoing(w, r, x)) //nolint:contextcheck // the watch has it
		if err != nil || hops == maxRedirects {
			return resp, err
		}
		to := movedTo(resp, r.URL)
		if to == nil {
			return resp, nil
		}
		io.CopyN(io.Discard, resp.Body, maxErrorBytes) //nolint:errcheck // then the connection is not used again
		resp.Body.Close()                              //nolint:errcheck // nothing of it is needed
		r = r.Clone(r.Context())
		r.URL, r.Host = to, to.Host
		x.sent.Store(false)
	}
}

// movedTo is where to send a request again; nil where that is not to be done.
func movedTo(resp *http.Response, from *url.URL) *url.URL {
	if resp.StatusCode != http.StatusTemporaryRedirect && resp.StatusCode != http.StatusPermanentRedirect {
		return nil
	}
	to, err := from.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" || to.User != nil {
		return nil
	}
	same := to.Scheme == from.Scheme && strings.EqualFold(to.Host, from.Host)
	// From http to https of the same name is what gateways ask for.
	safer := from.Scheme == "http" && to.Scheme == "https" && strings.EqualFold(to.Hostname(), from.Hostname())
	if !same && !safer {
		return nil
	}
	return to
}

// redirectedTo names the host of a redirect, which is what to look at.
func redirectedTo(resp *http.Response, hide redactor) string {
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || to.Host == "" {
		return ""
	}
	return " (it redirects to " + hide.words(to.Scheme+"://"+to.Host) + ")"
}
