package sandboxclient

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// execMargin is added to a command's own deadline: what runs may first have to be ended.
const execMargin = time.Minute

// Exec runs a command to its end. It ends with its connection, and so with ctx: Start is
// for one that must not. A command that ran and failed is no error.
func (c *Client) Exec(ctx context.Context, req ExecRequest) (*ExecResult, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	within := longDeadline
	if own := req.TimeoutSeconds; own > 0 && own < longDeadline.Seconds() {
		within = time.Duration(own*float64(time.Second)) + execMargin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	res := new(ExecResult)
	if err := c.exchange(ctx, http.MethodPost, "/exec", nil, bytes.NewReader(body), res); err != nil {
		return nil, err
	}
	return res, nil
}

func processRoute(id string) string { return "/processes/" + url.PathEscape(id) }

// Processes lists the commands that run, and those that have ended and are kept.
func (c *Client) Processes(ctx context.Context) ([]Process, error) {
	var out []Process
	return out, c.call(ctx, http.MethodGet, "/processes", nil, nil, &out)
}

// Process describes a command.
func (c *Client) Process(ctx context.Context, id string) (*Process, error) {
	out := new(Process)
	return out, c.call(ctx, http.MethodGet, processRoute(id), nil, nil, out)
}

// Kill ends a command and all that it started, and returns when that is done. What is
// kept of one that has ended is dropped.
func (c *Client) Kill(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, processRoute(id), nil, nil, nil)
}

// Signal sends a signal, such as SIGINT, to a command and its process group.
func (c *Client) Signal(ctx context.Context, id, signal string) error {
	return c.callJSON(ctx, http.MethodPost, processRoute(id)+"/signal", api.SignalRequest{Signal: signal}, nil)
}

// Resize changes the size of a command's terminal.
func (c *Client) Resize(ctx context.Context, id string, size Window) error {
	return c.callJSON(ctx, http.MethodPost, processRoute(id)+"/window", size, nil)
}

// Stdin gives a command that was started with StdinOpen some input, and the end of it
// where that is said. It waits for one that does not read, but not for ever. After an
// error it is not known how much the command has taken.
func (c *Client) Stdin(ctx context.Context, id string, data []byte, end bool) (*StdinResult, error) {
	route := processRoute(id) + "/stdin"
	if end {
		route += "?eof"
	}
	out := new(StdinResult)
	return out, c.call(ctx, http.MethodPost, route, nil, data, out)
}
