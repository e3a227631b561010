package client

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

// Origin is the record of the task that the client's task goes on from.
type Origin struct{ client *Client }

// Origin gives it. The server says which task it is.
func (c *Client) Origin() Origin { return Origin{c} }

// Checkpoint gives the checkpoint of a turn; with record.Last the one that the task's spec
// asks for. record.ErrNotFound says which there are.
func (o Origin) Checkpoint(ctx context.Context, turn int) (record.Checkpoint, error) {
	path := wire.OriginCheckpoint
	if turn != record.Last {
		path += "?" + wire.Turn + "=" + strconv.Itoa(turn)
	}
	var c record.Checkpoint
	err := o.client.get(ctx, request{method: http.MethodGet, path: path}, &c)
	return c, err
}

// Log gives the lines of the transcript from an event on, as Client.Log does.
func (o Origin) Log(ctx context.Context, from int64) (io.ReadCloser, error) {
	return o.client.log(ctx, wire.OriginLog, from)
}
