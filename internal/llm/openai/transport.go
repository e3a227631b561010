package openai

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sampan-dev/sampan/internal/llm"
)

const (
	// maxErrorBytes caps what is read of an error's body.
	maxErrorBytes = 64 << 10
	// tailIdle is the idle deadline once the model has finished and only usage and
	// the end mark can follow.
	tailIdle = 5 * time.Second
	// drainIdle is how long to wait for the end of a body after its end mark, so
	// that the connection can be used again; sane servers have sent it by then.
	drainIdle = 20 * time.Millisecond
)

// transport stands between the client and the wire; see the package comment. It
// serves one kind of request, whose exchange is in the request's context.
type transport struct {
	base    http.RoundTripper
	headers http.Header
	// firstByte, idle and total are deadlines; 0 is none.
	firstByte time.Duration
	idle      time.Duration
	total     time.Duration
	hide      redactor
	now       func() time.Time
	buffers   sync.Pool
}

func (t *transport) buffer(r io.Reader) *bufio.Reader {
	b := t.buffers.Get().(*bufio.Reader) //nolint:forcetypeassert // New makes no other
	b.Reset(r)
	return b
}

// giveBack keeps a buffer for the next reply, without what it read from.
func (t *transport) giveBack(r *bufio.Reader) {
	r.Reset(nil)
	t.buffers.Put(r)
}

type exchangeKey struct{}

// RoundTrip implements http.RoundTripper. Its errors are *llm.Error.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, errors.New("request without an exchange in its context")
	}
	first, idle := t.firstByte, t.idle
	if x.quirks.NoStream {
		first, idle = 0, 0 // nothing is sent until all of it is there
	}
	w := newWatch(r.Context(), first, idle, t.total)
	defer w.stop()
	resp, err := t.send(w, r, x)
	if err != nil {
		e := t.broken(r.Context(), w, err, false)
		x.charge(e, nil)
		return nil, e
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	w.alive()
	x.result, err = t.read(r.Context(), x, w, resp)
	if err != nil {
		return nil, err
	}
	const read = "{}" // the reply itself is in x, and is not encoded again
	return &http.Response{
		Status: resp.Status, StatusCode: http.StatusOK,
		Proto: resp.Proto, ProtoMajor: resp.ProtoMajor, ProtoMinor: resp.ProtoMinor,
		Header:        http.Header{"Content-Type": {"application/json"}},
		Body:          io.NopCloser(strings.NewReader(read)),
		ContentLength: int64(len(read)), Request: r,
	}, nil
}

// CloseIdleConnections lets http.Client pass its own on.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// outgoing is the request as it goes over the wire.
func (t *transport) outgoing(w *watch, r *http.Request, x *exchange) *http.Request {
	// Informational answers are signs of life; a trace also lifts the bound on them.
	out := r.Clone(httptrace.WithClientTrace(w.ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error { w.alive(); return nil },
	}))
	for name, values := range t.headers {
		out.Header[name] = values
	}
	if !x.quirks.NoStream {
		out.Header.Set("Accept", "text/event-stream")
	}
	out.GetBody = func() (io.ReadCloser, error) { return x.body.reader(&x.sent), nil }
	out.Body = x.body.reader(&x.sent)
	out.ContentLength = int64(x.body.size())
	return out
}

// read takes a response to its end and judges it.
func (t *transport) read(ctx context.Context, x *exchange, w *watch, resp *http.Response) (*result, error) {
	raw := t.buffer(w.body(resp.Body))
	defer t.giveBack(raw)
	body, release, err := unpack(resp.Header, raw)
	if err != nil {
		body, release = raw, func() {} // an error's status says enough without its words
	}
	defer release()
	if resp.StatusCode >= http.StatusMultipleChoices {
		// What cannot be read of an error's body only makes its message shorter.
		data, _ := io.ReadAll(io.LimitReader(body, maxErrorBytes))
		if ctx.Err() != nil {
			return nil, t.broken(ctx, w, ctx.Err(), true)
		}
		if decode := toUTF8(resp.Header); decode != nil && !utf8.Valid(data) {
			data = decode(data)
		}
		e := errorFromStatus(resp.StatusCode, resp.Header, data, t.now(), t.hide)
		if resp.StatusCode < http.StatusBadRequest {
			e.Message += redirectedTo(resp, t.hide)
		}
		return nil, e
	}
	a := &assembly{known: x.hasTool}
	switch {
	case err != nil:
	case firstByte(body) == '<':
		return nil, t.page(resp, body)
	default:
		reply := replyReader{
			events: eventReader{r: body}, begun: w.begun, finished: func() { w.atMost(tailIdle) }, toUTF8: toUTF8(resp.Header),
			endsWell: x.endsWell,
		}
		err = reply.read(a)
	}
	if err != nil {
		e := t.unreadable(ctx, w, resp, err)
		if a.choices || !errors.As(err, new(*saidError)) {
			x.charge(e, a) // an error that came first is a refusal
		}
		return nil, e
	}
	drain(w, raw)
	r, failed := x.judge(a)
	if failed != nil {
		failed.Status = resp.StatusCode
		return nil, failed
	}
	return r, nil
}

// page is the failure of an answer that is a web page, though its status is 200.
func (t *transport) page(resp *http.Response, body io.Reader) *llm.Error {
	data, _ := io.ReadAll(io.LimitReader(body, maxErrorBytes))
	said := parseServerError(data)
	e := &llm.Error{Category: llm.ProviderUnsupported, Status: resp.StatusCode}
	for _, l := range said.layers {
		// A gateway's page about the server behind it may come with any status.
		if d, ok := matchPhrase(http.StatusBadGateway, l.text(), false); ok && d.retryable {
			e.Category, e.Retryable = d.category, true
		}
	}
	e.Message = withWords("the server answered with an HTML page; check the base URL", said, t.hide)
	return e
}

// firstByte looks at the first byte that is not a space or part of a byte order
// mark; 0 when there is none. Servers send spaces to keep a connection while they
// work.
func firstByte(r *bufio.Reader) byte {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0
		}
		switch b {
		case ' ', '\t', '\r', '\n', byteOrder[0], byteOrder[1], byteOrder[2]:
			continue
		}
		r.UnreadByte() //nolint:errcheck // a byte was just read
		return b
	}
}

// drain reads what is left of a body, which is nearly always nothing, so that the
// connection can be used again.
func drain(w *watch, r io.Reader) {
	w.atMost(drainIdle)
	io.CopyN(io.Discard, r, maxErrorBytes) //nolint:errcheck // then the connection is not used again
}

// unreadable is the failure of a reply that began with status 200.
func (t *transport) unreadable(ctx context.Context, w *watch, resp *http.Response, err error) *llm.Error {
	var said *saidError
	var packed *encodingError
	switch {
	case errors.As(err, &said):
		return errorInBody(said.serverError, resp.Header, t.now(), t.hide)
	case errors.Is(err, errTooLarge):
		return &llm.Error{Category: llm.ProviderUnsupported, Status: resp.StatusCode, Err: err,
			Message: err.Error() + ", which is more than this client takes"}
	case errors.As(err, &packed) && !isConnection(err):
		return &llm.Error{Category: llm.TruncatedStream, Retryable: true, Status: resp.StatusCode, Err: t.hide.err(err), Message: t.hide.words(err.Error())}
	case errors.Is(err, errTruncated):
		return &llm.Error{Category: llm.TruncatedStream, Retryable: true, Status: resp.StatusCode, Err: err,
			Message: "the reply ended before the model had finished"}
	case errors.Is(err, errMalformed):
		return &llm.Error{Category: llm.TruncatedStream, Retryable: true, Status: resp.StatusCode, Err: t.hide.err(err),
			Message: "the reply is not valid JSON"}
	default:
		e := t.broken(ctx, w, err, true)
		e.Status = resp.StatusCode
		return e
	}
}

// broken is the failure of a connection, before or during the reply.
func (t *transport) broken(ctx context.Context, w *watch, err error, during bool) *llm.Error {
	cause := context.Cause(w.ctx) //nolint:contextcheck // it was made of ctx
	switch {
	case ctx.Err() != nil:
		// The caller's own end, which no retry can fix.
		return &llm.Error{Category: llm.Timeout, Message: "the call was stopped: " + ctx.Err().Error(), Err: ctx.Err()}
	case errors.Is(cause, errIdle):
		return &llm.Error{Category: llm.Timeout, Retryable: true, Err: cause,
			Message: fmt.Sprintf("the server sent nothing for %s", w.waited())}
	case errors.Is(cause, errTotal):
		return &llm.Error{Category: llm.Timeout, Retryable: true, Err: cause,
			Message: fmt.Sprintf("the reply was not complete after %s", t.total)}
	case during:
		return &llm.Error{Category: llm.TruncatedStream, Retryable: true, Err: t.hide.err(err),
			Message: "the connection broke during the reply: " + t.hide.words(err.Error())}
	}
	if e := proxyFailure(err); e != nil {
		return e
	}
	e := &llm.Error{Category: llm.Network, Retryable: true, Err: t.hide.err(err),
		Message: "the server could not be reached: " + t.hide.words(err.Error())}
	var (
		unknown  x509.UnknownAuthorityError
		host     x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		notFound *net.DNSError
	)
	switch {
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid), errors.As(err, &verify),
		errors.Is(err, http.ErrSchemeMismatch):
		// A wrong certificate, CA file or scheme stays wrong.
		e.Category, e.Retryable = llm.CredentialConfig, false
	case errors.As(err, &notFound):
		e.Retryable = notFound.IsTimeout || notFound.IsTemporary || notFound.IsNotFound
	}
	return e
}

// isConnection says that a reader failed since the connection did.
func isConnection(err error) bool {
	var failed net.Error
	return errors.As(err, &failed) || errors.Is(err, context.Canceled) || errors.Is(err, io.ErrUnexpectedEOF)
}
