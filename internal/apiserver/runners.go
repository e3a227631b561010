package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/semaphore"
	"k8s.io/klog/v2"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

const (
	// maxHeld bounds the bytes of bodies, chunks and logs that are held at once.
	maxHeld = 256 << 20
	// heldChunk is what a chunk takes while it is read: compressed, and not.
	heldChunk = 2 * record.MaxChunk
	// maxRequests bounds the requests that are under way, and maxPerTask those of a task.
	maxRequests = 512
	maxPerTask  = 32
	// maxUnknown bounds the requests of one address of which it is not known yet who
	// makes them. Behind one address there may be a node with all its pods.
	maxUnknown = 32
	// requestDeadline bounds a request, from its header to the end of the answer.
	requestDeadline = 2 * time.Minute
	// roomDeadline is how long a request waits for room for what it takes.
	roomDeadline = 5 * time.Second
)

// runners is the door for runners. Who passes it writes to one record, as the writer
// that the API server knows and never as one that a request names.
type runners struct {
	records
	identify func(context.Context, *http.Request, place) (*runner, error)
	room     *room
	requests *semaphore.Weighted
	// unknown and tasks share requests out, by address and by the UID of tasks.
	unknown, tasks *quota
}

func newRunners(all records, r *room, identify func(context.Context, *http.Request, place) (*runner, error)) *runners {
	return &runners{
		records: all, identify: identify, room: r, requests: semaphore.NewWeighted(maxRequests),
		unknown: newQuota(maxUnknown), tasks: newQuota(maxPerTask),
	}
}

// call is a request of a runner.
type call struct {
	w    http.ResponseWriter
	req  *http.Request
	body []byte
	rec  record.Recorder
	// writer is whom rec writes as.
	writer record.Writer
	room   *room
	door   *runners
	origin *origin
}

// handler serves what package wire says.
func (d *runners) handler() http.Handler {
	mux := http.NewServeMux()
	route := func(method, path string, maxBody int64, do func(context.Context, *call) error) {
		mux.HandleFunc(method+" "+wire.TaskPattern+path, func(w http.ResponseWriter, req *http.Request) {
			d.serve(w, req, false, maxBody, do)
		})
	}
	shared := func(method, path string, maxBody int64, do func(context.Context, *call) error) {
		route(method, path, maxBody, do)
		mux.HandleFunc(method+" "+wire.SandboxPattern+path, func(w http.ResponseWriter, req *http.Request) {
			d.serve(w, req, true, maxBody, do)
		})
	}
	// A log takes room for itself, as much as the part of it that is read.
	shared("POST", wire.Log, record.MaxAppend, appendLog)
	shared("GET", wire.Log, 0, readLog)
	shared("POST", wire.ChunksMissing, wire.MaxJSON, missingChunks)
	shared("PUT", wire.Chunks+"{digest}", record.MaxChunk, putChunk)
	shared("GET", wire.Chunks+"{digest}", 0, getChunk)
	shared("PUT", wire.Checkpoints+"{turn}", wire.MaxJSON, commit)
	shared("GET", wire.LatestCheckpoint, 0, latest)
	route("PUT", wire.Outputs+"/{output}", wire.MaxJSON, putOutput)
	route("GET", wire.Outputs, 0, listOutputs)
	route("GET", wire.OriginCheckpoint, 0, originCheckpoint)
	route("GET", wire.OriginLog, 0, originLog)
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		answerProblem(w, wire.Problem{Code: wire.CodeInvalid, Message: fmt.Sprintf("there is nothing to %.16s at %.256q", req.Method, req.URL.Path)})
	})
	return mux
}

func (d *runners) serve(w http.ResponseWriter, req *http.Request, sandbox bool, maxBody int64, do func(context.Context, *call) error) {
	ctx, cancel := context.WithTimeout(req.Context(), requestDeadline)
	defer cancel()
	out := &begun{ResponseWriter: w}
	err := d.admit(ctx, out, req, sandbox, maxBody, do)
	switch {
	case err == nil && !out.begun:
		w.WriteHeader(http.StatusNoContent)
	case err == nil:
	case out.begun:
		klog.FromContext(ctx).Error(err, "An answer to a runner was cut off")
		panic(http.ErrAbortHandler)
	default:
		answerProblem(w, problemOf(err))
	}
}

// admit does what a request asks for, if it may.
func (d *runners) admit(ctx context.Context, w http.ResponseWriter, req *http.Request, sandbox bool, maxBody int64, do func(context.Context, *call) error) error {
	p := place{
		Task: record.Task{Namespace: req.PathValue("namespace"), UID: req.PathValue("uid")},
		name: req.PathValue("name"), sandbox: sandbox,
	}
	if err := p.check(); err != nil {
		return err
	}
	r, err := d.known(ctx, req, p)
	if err != nil {
		return err
	}
	if !d.tasks.take(p.UID) {
		return fmt.Errorf("%w: %d requests of this task are under way, which is the most that it may have at once", record.ErrUnavailable, maxPerTask)
	}
	defer d.tasks.giveBack(p.UID)
	if !d.requests.TryAcquire(1) {
		return fmt.Errorf("%w: %d requests are under way, which is the most that this server takes at once", record.ErrUnavailable, maxRequests)
	}
	defer d.requests.Release(1)
	store, err := d.store.get()
	if err != nil {
		return err
	}
	body, release, err := d.readBody(ctx, w, req, maxBody)
	if err != nil {
		return err
	}
	defer release()
	if err := r.describe(ctx, store, p.Task); err != nil {
		return err
	}
	recorder := store.Recorder
	if sandbox {
		recorder = store.LastRecorder
	}
	return do(ctx, &call{w: w, req: req, body: body, rec: recorder(p.Task, r.writer), writer: r.writer, room: d.room, door: d, origin: r.origin})
}

// known finds out who makes a request. Until it knows, the request counts for its
// address alone, so that nobody who may not write keeps those waiting who may.
func (d *runners) known(ctx context.Context, req *http.Request, p place) (*runner, error) {
	known, err := d.unknown.takeUnknown(req)
	if err != nil {
		return nil, err
	}
	defer known()
	return d.identify(ctx, req, p)
}

// readBody reads a body of at most some bytes when there is room for it.
func (d *runners) readBody(ctx context.Context, w http.ResponseWriter, req *http.Request, most int64) (body []byte, release func(), err error) {
	size := req.ContentLength
	if size > most {
		return nil, nil, refusal(wire.CodeTooLarge, "the body has %d bytes; at most %d are taken", size, most)
	}
	if size < 0 {
		size = most
	}
	if release, err = d.room.take(ctx, size); err != nil {
		return nil, nil, err
	}
	body, err = io.ReadAll(http.MaxBytesReader(w, req.Body, most))
	if err == nil {
		return body, release, nil
	}
	release()
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, nil, refusal(wire.CodeTooLarge, "the body has more than %d bytes", most)
	}
	return nil, nil, refusal(wire.CodeInvalid, "the body cannot be read: %v", err)
}

func appendLog(ctx context.Context, c *call) error {
	first, err := c.number(wire.First)
	if err != nil {
		return err
	}
	return c.rec.Append(ctx, first, c.body)
}

func readLog(ctx context.Context, c *call) error {
	return c.sendLog(func(from int64) (io.ReadCloser, error) { return c.rec.Log(ctx, from) })
}

// sendLog answers with the lines of a log from an event on.
func (c *call) sendLog(open func(from int64) (io.ReadCloser, error)) error {
	from, err := c.number(wire.From)
	if err != nil {
		return err
	}
	log, err := open(from)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", wire.Lines)
	if _, err = io.Copy(c.w, log); err == nil {
		_, err = c.w.Write(nil) // an empty log is an answer, too
	}
	return errors.Join(err, log.Close())
}

func missingChunks(ctx context.Context, c *call) error {
	var asked wire.Missing
	if err := c.decode(&asked); err != nil {
		return err
	}
	if len(asked.Chunks) > wire.MaxMissing {
		return refusal(wire.CodeTooLarge, "it is asked about %d chunks; ask about %d at a time", len(asked.Chunks), wire.MaxMissing)
	}
	missing, err := c.rec.Missing(ctx, asked.Chunks)
	if err != nil {
		return err
	}
	return c.answer(wire.Missing{Chunks: missing})
}

func putChunk(ctx context.Context, c *call) error {
	return c.rec.PutChunk(ctx, record.Digest(c.req.PathValue("digest")), c.body)
}

func getChunk(ctx context.Context, c *call) error {
	release, err := c.room.take(ctx, heldChunk)
	if err != nil {
		return err
	}
	defer release()
	data, err := c.rec.Chunk(ctx, record.Digest(c.req.PathValue("digest")))
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", wire.Content)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, err = c.w.Write(data)
	return err
}

func commit(ctx context.Context, c *call) error {
	var checkpoint record.Checkpoint
	if err := c.decode(&checkpoint); err != nil {
		return err
	}
	if said := c.req.PathValue("turn"); said != strconv.Itoa(checkpoint.Turn) {
		return refusal(wire.CodeInvalid, "the checkpoint is of turn %d, and the path says %.64q", checkpoint.Turn, said)
	}
	checkpoint.Writer = c.writer
	return c.rec.Commit(ctx, checkpoint)
}

func latest(ctx context.Context, c *call) error {
	checkpoint, err := c.rec.Latest(ctx)
	if err != nil {
		return err
	}
	return c.answer(checkpoint)
}

func putOutput(ctx context.Context, c *call) error {
	var o record.Output
	if err := c.decode(&o); err != nil {
		return err
	}
	if said := c.req.PathValue("output"); said != o.Name {
		return refusal(wire.CodeInvalid, "the output is named %.64q, and the path says %.64q", o.Name, said)
	}
	o.Writer = c.writer
	return c.rec.PutOutput(ctx, o)
}

func listOutputs(ctx context.Context, c *call) error {
	all, err := c.rec.Outputs(ctx)
	if err != nil {
		return err
	}
	return c.answer(wire.OutputList{Items: all})
}

// number is a parameter that counts from 1.
func (c *call) number(name string) (int64, error) {
	said := c.req.URL.Query().Get(name)
	n, err := eventNumber(said)
	if err != nil {
		return 0, refusal(wire.CodeInvalid, "parameter %s is %.64q; %v", name, said, err)
	}
	return n, nil
}

func (c *call) decode(into any) error {
	if err := json.Unmarshal(c.body, into); err != nil {
		return refusal(wire.CodeInvalid, "the body is not what it should be: %v", err)
	}
	return nil
}

func (c *call) answer(v any) error { return answerJSON(c.w, http.StatusOK, v) }
