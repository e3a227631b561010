package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm/scripted"
	"github.com/sampan-dev/sampan/internal/testing/testca"
)

const (
	modelKey      = "sk-model-secret-0123456789"
	proxyUser     = "someone"
	proxyPassword = "hunter2-of-the-proxy"
)

// TestProxyAndCA runs the program as it is deployed behind a proxy: Go reads the
// environment once in a process, so it takes one for each case. The names do not
// exist, and so are only found by way of the proxy; it never asks one for a
// loopback address, but for 0.0.0.0, which leads to the same place.
func TestProxyAndCA(t *testing.T) {
	const userinfo = proxyUser + ":" + proxyPassword + "@"
	for name, tc := range map[string]struct {
		url string
		// env may hold PROXY, the proxy's address, PLAIN and TLS, the servers' ports, and CA, the CA's file.
		env []string
		// reject is what the proxy answers instead of doing its work.
		reject int
		want   harness.End
		// words are in the output; through and tunnels count what went by the proxy.
		words            string
		through, tunnels int
	}{
		"HTTP_PROXY":                  {url: "http://model.test/v1", env: []string{"HTTP_PROXY=http://" + userinfo + "PROXY"}, want: harness.Completed, through: 2},
		"http_proxy":                  {url: "http://model.test/v1", env: []string{"http_proxy=http://" + userinfo + "PROXY"}, want: harness.Completed, through: 2},
		"HTTPS_PROXY, SAMPAN_CA_FILE": {url: "https://model.test/v1", env: []string{"HTTPS_PROXY=http://" + userinfo + "PROXY", "SAMPAN_CA_FILE=CA"}, want: harness.Completed, tunnels: 1},
		"HTTPS_PROXY, SSL_CERT_FILE":  {url: "https://model.test/v1", env: []string{"HTTPS_PROXY=http://" + userinfo + "PROXY", "SSL_CERT_FILE=CA"}, want: harness.Completed, tunnels: 1},
		"NO_PROXY":                    {url: "http://0.0.0.0:PLAIN/v1", env: []string{"HTTP_PROXY=http://" + userinfo + "PROXY", "NO_PROXY=0.0.0.0"}, want: harness.Completed},
		"not in NO_PROXY":             {url: "http://0.0.0.0:PLAIN/v1", env: []string{"HTTP_PROXY=http://" + userinfo + "PROXY", "NO_PROXY=other.test"}, want: harness.Completed, through: 2},
		"no proxy, SAMPAN_CA_FILE":    {url: "https://127.0.0.1:TLS/v1", env: []string{"SAMPAN_CA_FILE=CA"}, want: harness.Completed},
		"no proxy, SSL_CERT_FILE":     {url: "https://127.0.0.1:TLS/v1", env: []string{"SSL_CERT_FILE=CA"}, want: harness.Completed},
		"unknown CA":                  {url: "https://127.0.0.1:TLS/v1", want: harness.ModelUnavailable, words: "CredentialConfig: the server could not be reached: tls: failed to verify certificate"},
		"unknown CA behind a proxy": {url: "https://model.test/v1", env: []string{"HTTPS_PROXY=http://" + userinfo + "PROXY"},
			want: harness.ModelUnavailable, words: "CredentialConfig: the server could not be reached: tls: failed to verify certificate", tunnels: 1},
		"CA file missing":        {url: "https://127.0.0.1:TLS/v1", env: []string{"SAMPAN_CA_FILE=CA.gone"}, want: harness.ModelUnavailable, words: "reading the CA file"},
		"wrong password":         {url: "https://model.test/v1", env: []string{"HTTPS_PROXY=http://" + proxyUser + ":wrong-" + proxyPassword + "@PROXY"}, want: harness.ModelUnavailable, words: "407 Proxy Authentication Required", tunnels: 1},
		"wrong password, no TLS": {url: "http://model.test/v1", env: []string{"HTTP_PROXY=http://" + proxyUser + ":wrong-" + proxyPassword + "@PROXY"}, want: harness.ModelUnavailable, words: "407 Proxy Authentication Required", through: 1},
		"refused by the proxy":   {url: "https://model.test/v1", env: []string{"HTTPS_PROXY=http://" + userinfo + "PROXY"}, reject: 403, want: harness.ModelUnavailable, words: "the proxy answered 403", tunnels: 1},
		"an answer of the proxy's own": {url: "http://model.test/v1", env: []string{"HTTP_PROXY=http://" + userinfo + "PROXY"}, reject: 403,
			want: harness.ModelUnavailable, words: "403 Forbidden", through: 1},
		"no address":   {url: "https://model.test/v1", env: []string{"HTTPS_PROXY=http://" + proxyUser + ":%zz" + proxyPassword + "@PROXY"}, want: harness.ModelUnavailable, words: "the proxy's address in HTTP_PROXY or HTTPS_PROXY cannot be read"},
		"nobody there": {url: "https://model.test/v1", env: []string{"HTTPS_PROXY=http://" + userinfo + "127.0.0.1:1"}, want: harness.ModelUnavailable, words: "Network: the server could not be reached: proxyconnect tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newProxied(t, tc.reject)
			out := w.run(t, tc.url, tc.env, tc.want)
			if !strings.Contains(out, tc.words) {
				t.Errorf("%q is not in the output:\n%s", tc.words, out)
			}
			through, tunnels := w.counts()
			if through != tc.through || tunnels != tc.tunnels {
				t.Errorf("%d requests and %d tunnels went by the proxy, want %d and %d", through, tunnels, tc.through, tc.tunnels)
			}
			w.wantNoSecret(t, out)
		})
	}
}

// proxied is a proxy, and a model's server behind it, with and without TLS.
type proxied struct {
	proxy, plain, tls *httptest.Server
	ca                string
	reject            int
	p                 *process

	mu sync.Mutex
	// passed is all that went through tunnels; the rest is counted.
	passed           []byte
	through, tunnels int
}

func newProxied(t *testing.T, reject int) *proxied {
	t.Helper()
	script, err := scripted.Parse([]byte(`turns: [{toolCalls: [{name: bash, arguments: {command: echo hi}}]}, {text: Done.}]`))
	if err != nil {
		t.Fatal(err)
	}
	model := scripted.NewServer(script, modelKey)
	w := &proxied{reject: reject, plain: httptest.NewServer(model), tls: httptest.NewUnstartedServer(model)}
	w.ca = filepath.Join(t.TempDir(), "ca.pem")
	w.tls.TLS = &tls.Config{Certificates: []tls.Certificate{testca.Certificate(t, w.ca)}, MinVersion: tls.VersionTLS12}
	w.tls.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what some cases are about
	w.tls.StartTLS()
	w.proxy = httptest.NewServer(w)
	t.Cleanup(func() {
		for _, s := range []*httptest.Server{w.proxy, w.plain, w.tls} {
			s.CloseClientConnections()
			s.Close()
		}
	})
	return w
}

// run runs the program and gives all that it printed and recorded.
func (w *proxied) run(t *testing.T, url string, env []string, want harness.End) string {
	t.Helper()
	port := func(s *httptest.Server) string { return s.URL[strings.LastIndexByte(s.URL, ':')+1:] }
	fill := strings.NewReplacer("PLAIN", port(w.plain), "TLS", port(w.tls))
	// Half of the time is waited for a server that nobody can reach.
	w.p = newRunner(t, "turns: []", "limits: {activeSeconds: 10}")
	registry := fmt.Sprintf(`{version: 1, default: {role: agent}, providers: {here: {type: openai, baseURL: %q, insecureHTTP: true, apiKey: {env: CHORE_KEY}}},
models: [{id: m, provider: here, roles: [agent]}]}`, fill.Replace(url))
	if err := os.WriteFile(filepath.Join(w.p.dir, "registry.yaml"), []byte(registry), 0o600); err != nil {
		t.Fatal(err)
	}
	w.p.cmd.Env = append(withoutProxies(w.p.cmd.Env), "CHORE_KEY="+modelKey)
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		value = strings.NewReplacer("PROXY", strings.TrimPrefix(w.proxy.URL, "http://"), "CA", w.ca).Replace(value)
		w.p.cmd.Env = append(w.p.cmd.Env, name+"="+value)
	}
	out, _ := w.p.cmd.Output() // the exit code is checked below
	if code := w.p.cmd.ProcessState.ExitCode(); code != want.ExitCode() {
		t.Errorf("exit code %d, want %d\n%s%s", code, want.ExitCode(), out, w.p.stderr)
	}
	record, err := os.ReadFile(filepath.Join(w.p.dir, "run.jsonl"))
	if err != nil {
		t.Error(err)
	}
	return string(out) + w.p.stderr.String() + string(record)
}

// withoutProxies takes out what this machine says of proxies and certificates.
func withoutProxies(env []string) []string {
	var out []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if upper := strings.ToUpper(name); !strings.HasSuffix(upper, "_PROXY") && upper != "SSL_CERT_FILE" && upper != "SSL_CERT_DIR" {
			out = append(out, kv)
		}
	}
	return out
}

func (w *proxied) counts() (through, tunnels int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.through, w.tunnels
}

// wantNoSecret: neither key nor password is in what people see, and the key is
// not in what a tunnel passed on.
func (w *proxied) wantNoSecret(t *testing.T, out string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, secret := range []string{modelKey, proxyPassword} {
		if strings.Contains(out, secret) {
			t.Errorf("%q is in the output:\n%s", secret, out)
		}
	}
	if strings.Contains(string(w.passed), modelKey) {
		t.Error("the key went through the tunnel in the clear")
	}
}

// ServeHTTP implements http.Handler, as a proxy.
func (w *proxied) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	tunnel := r.Method == http.MethodConnect
	w.mu.Lock()
	if tunnel {
		w.tunnels++
	} else {
		w.through++
	}
	w.mu.Unlock()
	check := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	switch user, password, _ := check.BasicAuth(); {
	case user != proxyUser || password != proxyPassword:
		rw.WriteHeader(http.StatusProxyAuthRequired)
	case w.reject != 0:
		// Some repeat what they were sent.
		rw.WriteHeader(w.reject)
		_, _ = fmt.Fprintf(rw, "refused: %v", r.Header)
	case tunnel:
		w.tunnel(rw)
	default:
		w.forward(rw, r)
	}
}

// forwarding keeps no connection and is shared with no other test: one that is lost
// between two requests is a 502, and the program's second try would be counted.
var forwarding = &http.Transport{DisableKeepAlives: true}

func (w *proxied) forward(rw http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Host = "", strings.TrimPrefix(w.plain.URL, "http://")
	resp, err := forwarding.RoundTrip(out)
	if err != nil {
		rw.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	rw.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(rw, resp.Body)
}

func (w *proxied) tunnel(rw http.ResponseWriter) {
	server, err := net.Dial("tcp", strings.TrimPrefix(w.tls.URL, "https://"))
	if err != nil {
		rw.WriteHeader(http.StatusBadGateway)
		return
	}
	client, _, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		_ = server.Close()
		return
	}
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	_, _ = io.Copy(io.MultiWriter(server, w), client)
	_ = server.Close()
}

// Write notes what a tunnel passes on.
func (w *proxied) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passed = append(w.passed, p...)
	return len(p), nil
}
