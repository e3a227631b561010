// Package wire is what a runner and the server of the record say to each other over
// HTTP: paths, bodies and errors. The bodies are those of package record.
//
//	POST TASK/log?first=N        whole lines of the transcript; first is the number of the first of them
//	GET  TASK/log?from=N         lines, from event number N to the last
//	POST TASK/chunks/missing     Missing, answered with Missing
//	PUT  TASK/chunks/DIGEST      the chunk's content
//	GET  TASK/chunks/DIGEST      the chunk's content
//	PUT  TASK/checkpoints/TURN   record.Checkpoint, of that turn
//	GET  TASK/checkpoints/latest record.Checkpoint
//	PUT  TASK/outputs/NAME       record.Output, of that name
//	GET  TASK/outputs            OutputList
//	GET  TASK/origin/checkpoint?turn=N  record.Checkpoint of the task that TASK goes on from, by default the one that its spec says
//	GET  TASK/origin/log?from=N         lines of that task
//
// The server in front, which has decided that somebody may read, asks for
//
//	GET READ/transcript    with the parameters from, to, turn, follow and uid
//	GET READ/checkpoints   with uid
//	GET READ/outputs       with uid; READ/outputs/NAME is the content of one
//	GET ReadStore          204 if the store is open
//
// and for what a sandbox is to do, which it is told over the connection that its runner
// keeps here (see package tunnel), below
//
//	REACH/exec, REACH/processes, REACH/files, REACH/backup, REACH/status
//
// as the sandbox's server has them under /v1. It shows a token of ReadAudience. What goes wrong there is answered with a
// metav1.Status, as people get it.
//
// TASK is what TaskPath gives, and READ what ReadPath gives. Log, chunks and checkpoints are
// below SandboxPath as well, for what a named Sandbox keeps of its workspace. A PUT or POST without an answer of its own is answered
// with 204. Who writes follows from the token and the task's status: a Writer in a
// body is ignored. Anything else than 2xx has a Problem as its body. An answer that
// fails once it has begun is cut off, so that it reads as an unexpected end of file,
// never as the end of the content.
package wire

import (
	"net/url"
	"strconv"

	"github.com/sampan-dev/sampan/internal/record"
)

// Audience is that of the token that a runner shows, in the Authorization header.
const Audience = "sampan-record"

// ReadAudience is that of the token that the server in front shows.
const ReadAudience = "sampan-record-read"

// Media types of bodies.
const (
	JSON    = "application/json"
	Lines   = "application/jsonl"
	Content = "application/octet-stream"
)

// TaskPattern is TaskPath as a pattern of http.ServeMux.
const TaskPattern = "/v1/namespaces/{namespace}/agenttasks/{name}/{uid}"

// SandboxPattern is SandboxPath as a pattern of http.ServeMux.
const SandboxPattern = "/v1/namespaces/{namespace}/sandboxes/{name}/{uid}"

// Where the server in front reads.
const (
	// ReadPattern is ReadPath as a pattern of http.ServeMux.
	ReadPattern = "/v1/read/namespaces/{namespace}/agenttasks/{name}"
	ReadStore   = "/v1/read/store"
)

// TunnelPattern is TunnelPath as a pattern of http.ServeMux.
const TunnelPattern = SandboxPattern + "/tunnel"

// ReachPattern is ReachPath, and what is below it, as a pattern of http.ServeMux.
const ReachPattern = "/v1/reach/namespaces/{namespace}/sandboxes/{name}/{path...}"

// ConnectedPattern is ConnectedPath as a pattern of http.ServeMux.
const ConnectedPattern = "/v1/reach/connected/{namespace}/{name}/{uid}"

// Relayed is the header of a request that another replica of the server passes on.
const Relayed = "Sampan-Relayed"

// What comes after a TaskPath.
const (
	Log              = "/log"
	ChunksMissing    = "/chunks/missing"
	Chunks           = "/chunks/"
	LatestCheckpoint = "/checkpoints/latest"
	Checkpoints      = "/checkpoints/"
	Outputs          = "/outputs"
	OriginCheckpoint = "/origin/checkpoint"
	OriginLog        = "/origin/log"
)

// Parameters of Log, and of OriginCheckpoint.
const (
	First = "first"
	From  = "from"
	Turn  = "turn"
)

const (
	// MaxJSON bounds a body in JSON.
	MaxJSON = 4 << 20
	// MaxMissing bounds how many chunks one request asks about.
	MaxMissing = 8192
)

// Missing asks about chunks, and answers with those that are missing.
type Missing struct {
	Chunks []record.Digest `json:"chunks"`
}

// OutputList is all outputs of a task, by name.
type OutputList struct {
	Items []record.Output `json:"items"`
}

// TaskPath is where the record of a task is.
func TaskPath(namespace, name, uid string) string {
	return "/v1/namespaces/" + url.PathEscape(namespace) + "/agenttasks/" + url.PathEscape(name) + "/" + url.PathEscape(uid)
}

// SandboxPath is where the record of a named Sandbox is.
func SandboxPath(namespace, name, uid string) string {
	return "/v1/namespaces/" + url.PathEscape(namespace) + "/sandboxes/" + url.PathEscape(name) + "/" + url.PathEscape(uid)
}

// ReadPath is where the server in front reads the record of the task that has a name now.
func ReadPath(namespace, name string) string {
	return "/v1/read/namespaces/" + url.PathEscape(namespace) + "/agenttasks/" + url.PathEscape(name)
}

// TunnelPath is where the runner of a Sandbox can be called back: it asks for a
// connection there.
func TunnelPath(namespace, name, uid string) string {
	return SandboxPath(namespace, name, uid) + "/tunnel"
}

// ReachPath is where the server in front reaches a Sandbox.
func ReachPath(namespace, name string) string {
	return "/v1/reach/namespaces/" + url.PathEscape(namespace) + "/sandboxes/" + url.PathEscape(name)
}

// ConnectedPath is where replicas of the server ask each other whether the runner of a
// Sandbox is connected to them.
func ConnectedPath(namespace, name, uid string) string {
	return "/v1/reach/connected/" + url.PathEscape(namespace) + "/" + url.PathEscape(name) + "/" + url.PathEscape(uid)
}

// ChunkPath is where a chunk is, after a TaskPath.
func ChunkPath(d record.Digest) string { return Chunks + url.PathEscape(string(d)) }

// CheckpointPath is where the checkpoint of a turn is, after a TaskPath.
func CheckpointPath(turn int) string { return Checkpoints + strconv.Itoa(turn) }

// OutputPath is where an output is, after a TaskPath.
func OutputPath(name string) string { return Outputs + "/" + url.PathEscape(name) }
