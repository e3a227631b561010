package api

import "time"

// StreamRequest is the body of POST /v1/exec/stream: a command that goes on until it
// ends or is ended, whoever follows it. Exactly one of Argv and Shell is set.
type StreamRequest struct {
	Argv []string `json:"argv,omitempty"`
	// Shell is run by `bash -c`, or `sh -c` where there is no bash.
	Shell string `json:"shell,omitempty"`
	// Cwd is inside the workspace; empty is its root.
	Cwd string `json:"cwd,omitempty"`
	// Env is added to the sandbox's own environment.
	Env map[string]string `json:"env,omitempty"`
	// Stdin is fed to the command, then closed; empty is closed at once.
	Stdin []byte `json:"stdin,omitempty"`
	// StdinOpen keeps its input open for POST /v1/processes/{id}/stdin.
	StdinOpen bool `json:"stdinOpen,omitempty"`
	// TimeoutSeconds kills the command and all it started; 0 is the server's cap.
	TimeoutSeconds float64 `json:"timeoutSeconds,omitempty"`
	// MergeStderr sends stderr to stdout, in the order in which both were written.
	MergeStderr bool `json:"mergeStderr,omitempty"`
	// Window makes a terminal of this size its input and output. Its input is open then.
	Window *Window `json:"window,omitempty"`
}

// Window is the size of a terminal, in characters; the body of POST
// /v1/processes/{id}/window.
type Window struct {
	Rows    uint16 `json:"rows"`
	Columns uint16 `json:"columns"`
}

// Process is a command that runs, or has run: one of POST /v1/exec is listed while
// it runs, one of POST /v1/exec/stream also for a while after its end.
type Process struct {
	ID      string    `json:"id"`
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Started time.Time `json:"started"`
	// Streamed says that its output can be followed, and OutputBytes how much there is
	// of it: the position of its end.
	Streamed    bool  `json:"streamed,omitempty"`
	OutputBytes int64 `json:"outputBytes,omitempty"`
	// Exit is there when it has ended.
	Exit *Exit `json:"exit,omitempty"`
}

// Exit is how a process ended; the data of the event exit.
type Exit struct {
	// ExitCode is there when it exited by itself, Signal ("SIGKILL") when one ended it.
	ExitCode *int   `json:"exitCode,omitempty"`
	Signal   string `json:"signal,omitempty"`
	// Unknown says that neither is known.
	Unknown bool `json:"unknown,omitempty"`
	// Killed says that a request asked for its end, or for that of all commands.
	Killed   bool `json:"killed,omitempty"`
	TimedOut bool `json:"timedOut,omitempty"`
	// OOMKilled says that the kernel killed something for lack of memory meanwhile.
	OOMKilled bool `json:"oomKilled,omitempty"`
	// ProcessLimit says that it was killed because commands had too many processes.
	ProcessLimit bool `json:"processLimit,omitempty"`
	// LeftoverKilled counts processes that it left behind and that were killed.
	LeftoverKilled int           `json:"leftoverKilled,omitempty"`
	Duration       time.Duration `json:"durationNanos"`
}

// Event is the name of a server-sent event.
type Event string

// The events of a stream. The id of an event is the position behind it, which
// counts the bytes of both outputs: what to ask for to go on from there.
const (
	// EventStart is the first: a Process.
	EventStart Event = "start"
	// EventStdout and EventStderr are some Output.
	EventStdout Event = "stdout"
	EventStderr Event = "stderr"
	// EventLost says which output was asked for and is gone: a Lost.
	EventLost Event = "lost"
	// EventExit is the last, after all output: an Exit.
	EventExit Event = "exit"
	// EventError is the last of a stream that ends before its process: an Error.
	EventError Event = "error"
)

// Output is what a process printed to one stream.
type Output struct {
	// Offset counts the bytes of this stream before it.
	Offset int64  `json:"offset"`
	Data   []byte `json:"data"`
}

// Lost is output that is not kept any more.
type Lost struct {
	// From and To are the positions between which all is lost.
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// StdoutOffset and StderrOffset are where the two streams go on.
	StdoutOffset int64 `json:"stdoutOffset"`
	StderrOffset int64 `json:"stderrOffset"`
}

// SignalRequest is the body of POST /v1/processes/{id}/signal.
type SignalRequest struct {
	// Signal is a name, such as SIGINT. It is sent to the command's process group.
	Signal string `json:"signal"`
}

// StdinResult is the answer of POST /v1/processes/{id}/stdin.
type StdinResult struct {
	// Bytes were taken now, TotalBytes since the process began.
	Bytes      int64 `json:"bytes"`
	TotalBytes int64 `json:"totalBytes"`
}
