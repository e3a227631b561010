package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

const (
	// firstPause and lastPause bound the pause before a request is repeated, and maxPause
	// what a server may ask for.
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
	maxPause   = 30 * time.Second

	// maxToken bounds the token's file.
	maxToken = 64 << 10
)

// request is one, however often it is made.
type request struct {
	method, path, mediaType string
	body                    []byte
	// most bounds the answer.
	most int64
}

func (r request) String() string { return r.method + " " + r.path }

// deadline is how long one try may take, when most may come back.
func (r request) deadline() time.Duration {
	return requestDeadline + time.Duration((int64(len(r.body))+r.most)/slowest)*time.Second
}

// call makes a request and gives its answer.
func (c *Client) call(ctx context.Context, r request) ([]byte, error) {
	var data []byte
	err := c.repeat(ctx, func() error {
		ctx, cancel := context.WithTimeoutCause(ctx, r.deadline(), fmt.Errorf("%s took more than %s", r, r.deadline()))
		defer cancel()
		body, err := c.open(ctx, r)
		if err != nil {
			return err
		}
		defer body.Close() //nolint:errcheck // read as far as it is needed
		data, err = io.ReadAll(io.LimitReader(body, r.most+1))
		if err == nil {
			err = ctx.Err() // a server that notices it may end its answer as if it were whole
		}
		if err != nil {
			return unreachable(ctx, err)
		}
		if int64(len(data)) > r.most {
			return fmt.Errorf("the server of the record gives more than %d bytes for %s", r.most, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("asking the record: %w", err)
	}
	return data, nil
}

// open makes a request once and gives the body of an answer that is one.
func (c *Client) open(ctx context.Context, r request) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.task+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if r.mediaType != "" {
		req.Header.Set("Content-Type", r.mediaType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer resp.Body.Close() //nolint:errcheck // read as far as it is needed
	return nil, refusal(resp, r)
}

// token reads the token, which never is in an error.
func (c *Client) token() (string, error) {
	f, err := os.Open(c.config.TokenFile)
	if err != nil {
		return "", fmt.Errorf("reading the token for the record: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("reading the token for the record: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" || len(data) > maxToken || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("%s has no token for the record", c.config.TokenFile)
	}
	return token, nil
}

// waitError is an error that may pass.
type waitError struct {
	err error
	// pause is what the server asks for, 0 if nothing.
	pause time.Duration
}

func (e *waitError) Error() string { return e.err.Error() }
func (e *waitError) Unwrap() error { return e.err }

// unreachable is the error of a server that did not answer to the end.
func unreachable(ctx context.Context, err error) error {
	var foreign *tls.CertificateVerificationError
	if errors.As(err, &foreign) {
		// The token was not sent. The server may be about to get another certificate.
		err = fmt.Errorf("what answers there is not the server of the record: %w", err)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return &waitError{err: fmt.Errorf("%w: %w", record.ErrUnavailable, err)}
}

// refusal is the error of an answer that is none.
func refusal(resp *http.Response, r request) error {
	data, readErr := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	var p wire.Problem
	if readErr != nil || json.Unmarshal(data, &p) != nil || p.Status() != resp.StatusCode || p.Code == "" {
		p = wire.Problem{Code: codeOf(resp.StatusCode), Message: fmt.Sprintf("it answers %s with %s", r, resp.Status)}
	}
	switch p.Code {
	case wire.CodeUnavailable:
		return &waitError{err: p.Err(), pause: pauseOf(resp.Header.Get("Retry-After"))}
	case wire.CodeUnauthorized:
		// kubelet renews the token, and an API server that has just started may not know
		// it yet. Whom the record is not for is told so by other codes.
		return &waitError{err: fmt.Errorf("%w: %w; the token for the record is not valid at the moment: it is in the runner's pod, and kubelet renews it", record.ErrUnavailable, p.Err())}
	case wire.CodeForbidden:
		return fmt.Errorf("%w; the record is for the runner of its task alone", p.Err())
	default:
		return p.Err()
	}
}

// codeOf is what an answer means that is not the record's, such as a gateway's.
func codeOf(status int) wire.Code {
	switch {
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return wire.CodeUnavailable
	case status == http.StatusConflict:
		return wire.CodeFenced
	case status == http.StatusUnauthorized:
		return wire.CodeUnauthorized
	case status == http.StatusForbidden:
		return wire.CodeForbidden
	}
	return wire.CodeInvalid // a 404 that is not the record's says nothing of what is in it
}

func pauseOf(retryAfter string) time.Duration {
	seconds, err := strconv.Atoi(retryAfter)
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, int(maxPause/time.Second)))*time.Second, maxPause)
}

// pauses grow, and are at least what the server has asked for.
type pauses struct {
	*backoff.ExponentialBackOff
	least time.Duration
}

func (p *pauses) NextBackOff() time.Duration { return max(p.ExponentialBackOff.NextBackOff(), p.least) }

// repeat tries until it gets another error than a waitError, or the context ends.
func (c *Client) repeat(ctx context.Context, try func() error) error {
	growing := backoff.NewExponentialBackOff()
	growing.InitialInterval, growing.MaxInterval = firstPause, lastPause
	p := &pauses{ExponentialBackOff: growing}
	var last error
	waits := false
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = try()
		var wait *waitError
		if !errors.As(last, &wait) {
			return struct{}{}, backoff.Permanent(last)
		}
		p.least = wait.pause
		return struct{}{}, last
	}, backoff.WithBackOff(p), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		if !waits {
			waits = true
			c.wait(err)
		}
	}))
	if waits {
		c.goOn()
	}
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && last != nil && !errors.Is(last, cause) {
		return fmt.Errorf("%w: %w", cause, last)
	}
	return last
}

func (c *Client) wait(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting++
	if c.waiting == 1 && c.config.OnWait != nil {
		c.config.OnWait(err)
	}
}

func (c *Client) goOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting--
	if c.waiting == 0 && c.config.OnGoOn != nil {
		c.config.OnGoOn()
	}
}
