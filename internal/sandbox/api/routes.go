package api

import "net/http"

// Route is a request of the interface, for its OpenAPI document and its tests.
type Route struct {
	Method, Path, Summary string
	Parameters            []Parameter
	// Body is a value of the type of a JSON body, nil where there is none, or one of
	// BodyType.
	Body     any
	BodyType string
	// Status is that of a success; Answer and AnswerType are as those of a body.
	Status     int
	Answer     any
	AnswerType string
	// Headers are in the answer.
	Headers []string
}

// Parameter is a part of the query, or a header.
type Parameter struct {
	Name, In, Summary string
	// Type is one of JSON Schema; empty is a flag, which has no value.
	Type string
}

// Media types.
const (
	typeJSON   = "application/json"
	typeBytes  = "application/octet-stream"
	typeEvents = "text/event-stream"
	typeZstd   = "application/zstd"
)

var (
	execID  = Parameter{Name: HeaderExecID, In: "header", Type: "string", Summary: "The command's id; without one it gets one."}
	ifMatch = Parameter{Name: "If-Match", In: "header", Type: "string", Summary: "The digest that the file must have, quoted."}
	file    = []string{"ETag", HeaderPath, HeaderMode, HeaderModTime}
)

// Routes are all of the interface.
func Routes() []Route {
	return append(append(commandRoutes(), fileRoutes()...), otherRoutes()...)
}

func commandRoutes() []Route {
	return []Route{
		{
			Method: http.MethodPost, Path: "/v1/exec", Summary: "Run a command to its end. It ends with the connection. Without exitCode and signal, how it ended is not known.",
			Parameters: []Parameter{execID}, Body: ExecRequest{}, Status: http.StatusOK, Answer: ExecResult{},
		},
		{
			Method: http.MethodPost, Path: "/v1/exec/stream", Summary: "Start a command, and follow its output. It does not end with the connection. " +
				"Events are start (a Process), stdout and stderr (an Output), lost (a Lost), and at the end exit (an Exit), or error (an Error) where the stream ends before the process.",
			Parameters: []Parameter{execID}, Body: StreamRequest{}, Status: http.StatusOK, AnswerType: typeEvents,
		},
		{Method: http.MethodGet, Path: "/v1/processes", Summary: "List the commands that run, and those that have ended and are kept.", Status: http.StatusOK, Answer: []Process{}},
		{Method: http.MethodDelete, Path: "/v1/processes", Summary: "End all commands, streams and other requests, and every other process of the container.", Status: http.StatusNoContent},
		{Method: http.MethodGet, Path: "/v1/processes/{id}", Summary: "Describe a command.", Status: http.StatusOK, Answer: Process{}},
		{Method: http.MethodDelete, Path: "/v1/processes/{id}", Summary: "Kill a command and all that it has started; drop what is kept of one that has ended.", Status: http.StatusNoContent},
		{
			Method: http.MethodGet, Path: "/v1/processes/{id}/stream", Summary: "Follow a command's output from a position, without loss or repeat; a lost event names what is not kept any more.",
			Parameters: []Parameter{
				{Name: "after", In: "query", Type: "integer", Summary: "The id of the last event that was taken; 0 is the beginning."},
				{Name: "Last-Event-ID", In: "header", Type: "integer", Summary: "The same, of clients that resume by themselves."},
			},
			Status: http.StatusOK, AnswerType: typeEvents,
		},
		{Method: http.MethodPost, Path: "/v1/processes/{id}/signal", Summary: "Send a signal to a command's process group.", Body: SignalRequest{}, Status: http.StatusNoContent},
		{
			Method: http.MethodPost, Path: "/v1/processes/{id}/stdin", Summary: "Give a command some input. One that does not read is waited for, but not for ever.",
			Parameters: []Parameter{{Name: "eof", In: "query", Summary: "Nothing follows."}},
			BodyType:   typeBytes, Status: http.StatusOK, Answer: StdinResult{},
		},
		{Method: http.MethodPost, Path: "/v1/processes/{id}/window", Summary: "Change the size of a command's terminal.", Body: Window{}, Status: http.StatusNoContent},
	}
}

func fileRoutes() []Route {
	return []Route{
		{
			Method: http.MethodGet, Path: "/v1/files/{path}", Summary: "Read a file, or with ?list a folder (a List).",
			Parameters: []Parameter{
				ifMatch,
				{Name: "Range", In: "header", Type: "string", Summary: "A part of the file."},
				{Name: "max", In: "query", Type: "integer", Summary: "Refuse a longer file."},
				{Name: "list", In: "query", Summary: "List a folder instead."},
				{Name: "after", In: "query", Type: "string", Summary: "The name after which the list begins."},
				{Name: "limit", In: "query", Type: "integer", Summary: "How many names it has."},
			},
			Status: http.StatusOK, Answer: List{}, AnswerType: typeBytes, Headers: file,
		},
		{
			Method: http.MethodHead, Path: "/v1/files/{path}", Summary: "Describe a file, folder or link.",
			Parameters: []Parameter{{Name: "stat", In: "query", Summary: "Do without the digest, for which a file has to be read."}},
			Status:     http.StatusOK, Headers: append(file, "Content-Length"),
		},
		{
			Method: http.MethodPut, Path: "/v1/files/{path}", Summary: "Write a file, as a whole or not at all.",
			Parameters: []Parameter{
				ifMatch,
				{Name: "If-None-Match", In: "header", Type: "string", Summary: "With * the file must not be there."},
				{Name: HeaderMode, In: "header", Type: "string", Summary: "The permissions of a new file, in octal; one that is there keeps its own."},
			},
			BodyType: typeBytes, Status: http.StatusOK, Answer: FileInfo{}, Headers: file,
		},
		{Method: http.MethodDelete, Path: "/v1/files/{path}", Summary: "Remove a file, a link or an empty folder.", Parameters: []Parameter{ifMatch}, Status: http.StatusNoContent},
		{Method: http.MethodPost, Path: "/v1/lines", Summary: "Read some lines of a text file.", Body: LinesRequest{}, Status: http.StatusOK, Answer: Lines{}},
		{Method: http.MethodPost, Path: "/v1/grep", Summary: "Search in files.", Body: GrepRequest{}, Status: http.StatusOK, Answer: GrepResult{}},
		{Method: http.MethodPost, Path: "/v1/glob", Summary: "Search for names of files.", Body: GlobRequest{}, Status: http.StatusOK, Answer: GlobResult{}},
		{
			Method: http.MethodGet, Path: "/v1/backup", Summary: "Get the workspace as a tar archive, compressed by zstd. Without the trailer " + HeaderDigest + " it is not whole.",
			Status: http.StatusOK, AnswerType: typeZstd, Headers: []string{HeaderDigest, HeaderEntries, HeaderSkipped},
		},
		{
			Method: http.MethodPut, Path: "/v1/backup", Summary: "Replace the content of the workspace by that of an archive, all or nothing. Ends all that runs.",
			Parameters: []Parameter{{Name: HeaderDigest, In: "header", Type: "string", Summary: "The digest that the archive must have."}},
			BodyType:   typeZstd, Status: http.StatusOK, Answer: Restored{},
		},
	}
}

func otherRoutes() []Route {
	return []Route{
		{
			Method: http.MethodGet, Path: "/v1/status", Summary: "Describe the sandbox.",
			Parameters: []Parameter{{Name: "usage", In: "query", Summary: "Count what the workspace takes up, too."}},
			Status:     http.StatusOK, Answer: Status{},
		},
		{Method: http.MethodGet, Path: "/v1/openapi.json", Summary: "This document.", Status: http.StatusOK, AnswerType: typeJSON},
		{Method: http.MethodDelete, Path: "/v1/owner", Summary: "End all and obey another client. On the sandbox's own socket only.", Status: http.StatusNoContent},
		{Method: http.MethodPost, Path: "/v1/shutdown", Summary: "End all and the server. On the sandbox's own socket only.", Status: http.StatusAccepted},
	}
}
