package openai

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sashabaranov/go-openai"

	"github.com/sampan-dev/sampan/internal/llm"
)

// The deadlines that hold when a Config names none.
const (
	// DefaultFirstByteTimeout is long because a server on a small machine reads a
	// long prompt for minutes, and is silent until the model's first word.
	DefaultFirstByteTimeout = 10 * time.Minute
	DefaultIdleTimeout      = 3 * time.Minute
	DefaultTotalTimeout     = 30 * time.Minute
)

// TaskHeader carries Config.TaskName, for gateways that account by task.
const TaskHeader = "X-Sampan-Task"

// Config says where a server is and how to treat it.
type Config struct {
	// BaseURL is what /chat/completions is appended to, "http://host:4000/v1".
	BaseURL string
	// APIKey is the bearer token; without one no Authorization header is sent.
	APIKey string
	Quirks Quirks
	// Headers are added to every request. Their values are taken for secrets.
	Headers map[string]string
	// FirstByteTimeout ends a call on which nothing comes for so long before the
	// model has said something, 0 is IdleTimeout where that is set, and else
	// DefaultFirstByteTimeout. IdleTimeout is the same from then on, 0 is
	// DefaultIdleTimeout. Neither applies with Quirks.NoStream.
	FirstByteTimeout, IdleTimeout time.Duration
	// TotalTimeout ends a call that takes so long in all, 0 is DefaultTotalTimeout.
	TotalTimeout time.Duration
	// CAFile holds PEM certificates to trust beside the system's.
	CAFile string
	// TaskName is sent as X-Sampan-Task when set.
	TaskName string
	// Transport replaces the connection to the server, for tests; CAFile is then
	// not read. By default proxies are taken from the environment.
	Transport http.RoundTripper
	// Now replaces the clock against which Retry-After dates are read.
	Now func() time.Time
}

// Provider is a model server. It is safe for concurrent use.
type Provider struct {
	client *openai.Client
	http   *http.Client
	hide   redactor
	// host is where the server is, for llm.Message.From.
	host string

	mu sync.Mutex
	// settings are what the server is to be sent, as far as is known.
	settings *settings
}

var _ llm.Provider = (*Provider)(nil)

// checkKey says what is wrong with an API key, and never what it is.
func checkKey(key string) error {
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	switch {
	case strings.HasPrefix(strings.ToLower(key), "bearer "):
		return errors.New("the API key begins with Bearer, which is put before it; take that out")
	case strings.ContainsAny(key, " \t\r\n"):
		return errors.New("the API key holds spaces or line breaks")
	case strings.ContainsFunc(key, odd):
		return errors.New("the API key holds a character that no key has; copy it again")
	case strings.HasPrefix(key, `"`) || strings.HasPrefix(key, "'"):
		return errors.New("the API key is in quotes; take them off")
	}
	return nil
}

// New prepares a provider; it does not connect.
func New(cfg Config) (*Provider, error) {
	if err := cfg.Quirks.Validate(); err != nil {
		return nil, fmt.Errorf("quirks: %w", err)
	}
	if err := checkBaseURL(cfg.BaseURL); err != nil {
		return nil, err
	}
	// A key from a file or a Secret often brings a newline along.
	key := strings.TrimSpace(cfg.APIKey)
	if err := checkKey(key); err != nil {
		return nil, err
	}
	base := cfg.Transport
	if base == nil {
		own, err := newHTTPTransport(cfg.CAFile)
		if err != nil {
			return nil, err
		}
		base = own
	}
	hide := newRedactor(key, cfg.Headers)
	t := &transport{
		base: base, headers: cfg.header(), hide: hide, now: cfg.Now,
		firstByte: orDefault(cfg.FirstByteTimeout, orDefault(cfg.IdleTimeout, DefaultFirstByteTimeout)),
		idle:      orDefault(cfg.IdleTimeout, DefaultIdleTimeout), total: orDefault(cfg.TotalTimeout, DefaultTotalTimeout),
	}
	t.buffers.New = func() any { return bufio.NewReaderSize(nil, 16<<10) }
	if t.now == nil {
		t.now = time.Now
	}
	p := &Provider{http: &http.Client{Transport: t}, hide: hide, host: cfg.host(), settings: newSettings(cfg.Quirks)}
	clientConfig := openai.DefaultConfig(key)
	clientConfig.BaseURL = strings.TrimRight(cfg.BaseURL, "/")
	clientConfig.HTTPClient = p.http
	p.client = openai.NewClientWithConfig(clientConfig)
	return p, nil
}

// Complete implements llm.Provider. Where the server refuses the form of the
// request in words that are known, the error says so (llm.Error.Adapted), and the
// next attempt takes another form.
func (p *Provider) Complete(ctx context.Context, req llm.Request) (*llm.Response, error) {
	s := p.current()
	resp, err := p.attempt(ctx, s, req)
	if err == nil {
		return resp, nil
	}
	if ctx.Err() == nil {
		p.adapt(s, err)
	}
	return nil, err
}

// attempt sends a request in one form.
func (p *Provider) attempt(ctx context.Context, s *settings, req llm.Request) (*llm.Response, *llm.Error) {
	from := p.host + "/" + req.Model
	body, err := s.encode(req, from)
	if err != nil {
		return nil, &llm.Error{Category: llm.ProviderUnsupported, Message: err.Error(), Err: err}
	}
	x := &exchange{req: req, body: body, quirks: s.quirks}
	// The transport puts the body in, and the result into x.
	if _, err := p.client.CreateChatCompletion(
		context.WithValue(ctx, exchangeKey{}, x), openai.ChatCompletionRequest{Model: req.Model}); err != nil {
		return nil, p.failure(ctx, err)
	}
	return x.result.neutral(from), nil
}

// Close gives up the idle connections.
func (p *Provider) Close() { p.http.CloseIdleConnections() }

// failure makes sure that every error is an *llm.Error.
func (p *Provider) failure(ctx context.Context, err error) *llm.Error {
	var known *llm.Error
	switch {
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil:
		return &llm.Error{Category: llm.Timeout, Message: "the call was stopped: " + ctx.Err().Error(), Err: ctx.Err()}
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // the URL says nothing that the caller does not know
	}
	return &llm.Error{Category: llm.ProviderUnsupported, Message: p.hide.words(err.Error()), Err: p.hide.err(err)}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// checkBaseURL refuses what would only fail later, or show a password in errors.
func checkBaseURL(base string) error {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return errors.New("the base URL cannot be parsed")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return errors.New("the base URL must be http://HOST/PATH or https://HOST/PATH")
	case u.User != nil:
		return errors.New("the base URL holds a user name; use a key or a header")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("the base URL holds a query or fragment; /chat/completions cannot follow it")
	}
	return nil
}

// host is the server's name and port.
func (c *Config) host() string {
	u, err := url.Parse(c.BaseURL)
	if err != nil {
		return "" // it was checked
	}
	return u.Host
}

// header is what goes on every request beside what the client sets.
func (c *Config) header() http.Header {
	h := http.Header{}
	h.Set("User-Agent", "sampan")
	for name, value := range c.Headers {
		h.Set(name, value)
	}
	if c.TaskName != "" {
		h.Set(TaskHeader, c.TaskName)
	}
	return h
}

// newHTTPTransport is http.DefaultTransport with deadlines on what is ours, and
// without compression, which holds back the events of a stream.
func newHTTPTransport(caFile string) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                  proxy,
		OnProxyConnectResponse: proxyAnswered,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the CA file %s holds no PEM certificate", caFile)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}
