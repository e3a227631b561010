// Package tool holds the tools that a model may call and the interface through
// which they reach the machine they work on.
package tool

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// Executor is the machine that tools work on: the sandbox container over its
// socket, or a folder of this machine. Both must behave the same; one
// conformance suite (internal/sandbox/conformance) runs on both.
//
// Paths are slash-separated and relative to the workspace, or absolute inside
// it. A path that leads outside, by "..", by an absolute path or by a symlink,
// is refused with ErrOutsideWorkspace.
//
// An error means that the machine could not do what was asked for; a command
// that ran and failed is not an error. Errors wrap one of the sentinels below
// where the caller could decide on them. One that wraps ErrExecutorGone says
// that there is nothing left to talk to; any other is about this request only.
type Executor interface {
	// Exec runs one command to its end, its deadline, or ctx's end; in each
	// case nothing that the command started is left running. When ctx ends it
	// returns ctx's error and no result. A program that is not there is
	// ErrNotFound (a shell says exit status 127 instead).
	Exec(ctx context.Context, req ExecRequest) (*ExecResult, error)
	// StopAll ends every request, and whatever a command has left behind or hidden: a
	// sandbox container then runs nothing but its server. What is ended so returns
	// ErrKilled; what comes meanwhile, ErrIsolated.
	StopAll(ctx context.Context) error
	// ReadFile gives a whole file of at most maxBytes; a larger one is ErrTooLarge.
	ReadFile(ctx context.Context, path string, maxBytes int64) (*File, error)
	// WriteFile replaces or creates a file, making missing parent folders. It
	// needs what a shell's ">" would need, the right to write the file, and
	// refuses one that nobody may write. It replaces by temp file and rename
	// where that changes nothing but the content, and overwrites in place where
	// an owner, other names (hard links), a mount or attributes would be lost.
	WriteFile(ctx context.Context, path string, data []byte, opts WriteOptions) (*FileInfo, error)
	// Stat describes a path without following a final symlink.
	Stat(ctx context.Context, path string) (*FileInfo, error)
	// Remove removes a file, a symlink (never its target) or an empty folder.
	Remove(ctx context.Context, path string) error
	// ReadLines gives some lines of a text file of any size without holding it whole.
	ReadLines(ctx context.Context, path string, r LineRange) (*Lines, error)
	// Grep searches file contents. It runs where the files are, so that a search
	// is one request and not one for each file.
	Grep(ctx context.Context, req GrepRequest) (*GrepResult, error)
	// Glob lists files by name.
	Glob(ctx context.Context, req GlobRequest) (*GlobResult, error)
}

// Sentinel errors of an Executor.
var (
	ErrOutsideWorkspace   = errors.New("path is outside the workspace")
	ErrNotFound           = errors.New("no such file or directory")
	ErrIsDirectory        = errors.New("is a directory")
	ErrNotRegular         = errors.New("is not a regular file")
	ErrTooLarge           = errors.New("file is too large")
	ErrPreconditionFailed = errors.New("file changed since it was last read")
	ErrPermission         = errors.New("permission denied")
	ErrNoSpace            = errors.New("no space left in the workspace")
	// ErrKilled is a command that somebody asked to be killed.
	ErrKilled = errors.New("the command was killed on request")
	// ErrIsolated is a request that came while an exclusive one ran.
	ErrIsolated = errors.New("a verification is running, and nothing may run beside it")
	// ErrNotIsolated says that a command did not run since what ran before could not
	// be ended, or had tampered with what the command would have inherited.
	ErrNotIsolated = errors.New("the command could not be isolated")
	// ErrInvalid is a request that can never work: an empty command, a path with a NUL.
	ErrInvalid = errors.New("invalid request")
	// ErrTooMany is a command beyond those that may run at once.
	ErrTooMany = errors.New("too many at once")
	// ErrEnded is about a command that runs no more.
	ErrEnded = errors.New("has ended")
	// ErrNotEmpty is a folder that cannot be removed because it holds something.
	ErrNotEmpty = errors.New("directory is not empty")
	// ErrExecutorGone says that the machine cannot be reached any more: a run cannot go on.
	ErrExecutorGone = errors.New("the sandbox is gone")
)

// ExecRequest is a command to run. Exactly one of Argv and Shell is set.
type ExecRequest struct {
	Argv []string
	// Shell is run by `bash -c`, or `sh -c` where there is no bash.
	Shell string
	// Cwd is inside the workspace; empty is its root.
	Cwd string
	// Env is added to the sandbox's own environment.
	Env map[string]string
	// Stdin is fed to the command, then closed; empty is closed at once.
	Stdin []byte
	// TimeoutSeconds kills the command and all it started; 0 is the server's cap.
	TimeoutSeconds float64
	// MaxOutputBytes bounds Stdout and Stderr together: the first and the last
	// half are kept and the middle is counted; 0 is the server's default.
	MaxOutputBytes int64
	// MergeStderr sends stderr to Stdout, in the order in which both were written.
	MergeStderr bool
	// Isolated makes it the only request: every other one and every process of
	// earlier commands is ended first, new ones are refused with ErrIsolated until it
	// is over, and nothing is left of it. The command gets a new, empty home and
	// folder for temporary files, and a PATH without folders in which tools can put
	// programs. It is for commands whose exit status decides something.
	Isolated bool
	// Files, by name, are put into a new folder, read-only, before an isolated command is
	// run; it has the folder's path in its environment, as VERIFY_FILES. Nothing that ran
	// before sees them, and they are gone after it.
	Files map[string][]byte
	// Terminal gives Stdout and Stderr as a terminal would show them at the end:
	// of progress bars their last state, no colours. The whole output is kept as
	// it came.
	Terminal bool
	// OutputFile is a file in the workspace that gets all output as it comes
	// (up to the server's limit), so that others can follow a long command.
	OutputFile string
}

// ExecResult is how a command ended.
type ExecResult struct {
	// Stdout and Stderr are each cut to their
	// head and tail where they were longer than asked for.
	Stdout []byte
	Stderr []byte
	// ExitCode is nil when the command did not exit by itself.
	ExitCode *int
	// Signal is the name of the signal that ended it ("SIGKILL"), else empty.
	Signal string
	// OmittedBytes of stdout and stderr were left out.
	OmittedStdoutBytes int64
	OmittedStderrBytes int64
	// StdoutCut and StderrCut are the offsets in Stdout and Stderr at which the
	// omitted bytes are missing; cuts never split a UTF-8 character.
	StdoutCut int64
	StderrCut int64
	// FullOutputPath is where the whole output is kept when some was omitted, or
	// the OutputFile that was asked for; readable through ReadFile and
	// ReadLines; empty otherwise. It lies below .sampan/output in the workspace,
	// where git does not see it; old ones are removed when there are too many.
	FullOutputPath string
	// FullOutputOmittedBytes are missing at the end of that file, too, because
	// it reached its limit or the disk was full.
	FullOutputOmittedBytes int64
	// LeftoverKilled counts processes that the command left behind and that were killed.
	LeftoverKilled int
	TimedOut       bool
	// ProcessLimit says that it was killed because commands had too many processes.
	ProcessLimit bool
	// OOMKilled says that the kernel killed something for lack of memory while the command ran.
	OOMKilled bool
	Duration  time.Duration
}

// File is a file's content with what is known of it.
type File struct {
	FileInfo
	Data []byte
}

// FileInfo describes a path.
type FileInfo struct {
	// Path is relative to the workspace, slash-separated and clean.
	Path string
	Size int64
	// Mode holds type and permission bits.
	Mode fs.FileMode
	// Digest is "sha256:" and the hex digest of a regular file's content where
	// it was read or written; empty for a Stat.
	Digest  string
	ModTime time.Time
}

// WriteOptions say how to write a file.
type WriteOptions struct {
	// IfMatch refuses with ErrPreconditionFailed unless the file is there and has this digest.
	IfMatch string
	// IfAbsent refuses with ErrPreconditionFailed if the file exists.
	IfAbsent bool
	// Mode is given to a new file; 0 means what a shell would give (0666 less
	// the umask). An existing file keeps its own.
	Mode fs.FileMode
}
