package sandboxclient

import (
	"io/fs"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// What is sent to a Sandbox and what it answers, as its OpenAPI document describes it.
type (
	// ExecRequest is a command that Exec runs to its end: one of Argv and Shell, with
	// Cwd, Env, Stdin, TimeoutSeconds and MaxOutputBytes. Isolated is refused.
	ExecRequest = api.ExecRequest
	// ExecResult is how it ended: ExitCode or Signal, and the head and the tail of its
	// Stdout and Stderr.
	ExecResult = api.ExecResult
	// StreamRequest is a command that Start starts: one of Argv and Shell, with Cwd,
	// Env, Stdin, StdinOpen, TimeoutSeconds, MergeStderr and, for a terminal, Window.
	StreamRequest = api.StreamRequest
	// Window is the size of a terminal: Rows and Columns.
	Window = api.Window
	// Process is a command that runs or has run: ID, PID, Command, Started, and Exit
	// once it has ended.
	Process = api.Process
	// Exit is how a process ended: ExitCode, Signal, or Unknown.
	Exit = api.Exit
	// Event is what a Stream gives. Beside Position, one of Stdout, Stderr, Lost and
	// Exit is set.
	Event = api.StreamEvent
	// Output is some Data that a process printed, and its Offset in that output.
	Output = api.Output
	// Lost is output that was asked for and is not kept any more.
	Lost = api.Lost
	// StdinResult is how much input a process has taken.
	StdinResult = api.StdinResult
	// FileInfo describes a file: Path, Size, Mode, Digest and ModTime.
	FileInfo = api.FileInfo
	// Folder is what List gives: Path, Entries, and whether there are More.
	Folder = api.List
	// Entry is what a folder holds under one name.
	Entry = api.Entry
	// Status is the state of a Sandbox: what runs, memory, space, last activity.
	Status = api.Status
	// Usage is what the workspace takes up.
	Usage = api.Usage
	// Restored is what came of a Restore.
	Restored = api.Restored
	// Code says what an error of a Sandbox is about, see CodeOf.
	Code = api.Code
)

// The codes on which a caller may decide; a Sandbox has others, too.
const (
	// NotFound: there is no such file, folder, program or process.
	NotFound = api.CodeNotFound
	// PreconditionFailed: the file or archive does not have the expected digest, or is
	// there though it must not be.
	PreconditionFailed = api.CodePreconditionFailed
	// OutsideWorkspace: the path leads out of the workspace.
	OutsideWorkspace = api.CodeOutsideWorkspace
	// IsDirectory, NotRegular and NotEmpty: the path is not of a kind for this.
	IsDirectory = api.CodeIsDirectory
	NotRegular  = api.CodeNotRegular
	NotEmpty    = api.CodeNotEmpty
	// TooLarge: the file is larger than asked for, or than a Sandbox takes.
	TooLarge = api.CodeTooLarge
	// PermissionDenied and NoSpace: as the file system says.
	PermissionDenied = api.CodePermissionDenied
	NoSpace          = api.CodeNoSpace
	// Invalid: the request can never work.
	Invalid = api.CodeInvalid
	// Killed: the command was ended by another request.
	Killed = api.CodeKilled
	// Ended: the process runs no more.
	Ended = api.CodeEnded
	// Isolated: a verify command runs, or its outputs are being taken; try again.
	Isolated = api.CodeIsolated
	// TooMany: too many commands run at once.
	TooMany = api.CodeTooMany
	// NotReady: the workspace is being prepared; try again.
	NotReady = api.CodeNotReady
)

// File is a file with its content.
type File struct {
	FileInfo
	Data []byte
}

// WriteOptions are the conditions of a write. The zero value replaces what is there.
type WriteOptions struct {
	// IfMatch is the digest that the file must have, as FileInfo.Digest has it.
	IfMatch string
	// IfAbsent writes only where there is no file.
	IfAbsent bool
	// Mode has the permissions of a new file; 0 is 0644. One that is there keeps its own.
	Mode fs.FileMode
}

// ListOptions choose entries of a folder.
type ListOptions struct {
	// After is the name behind which the list begins.
	After string
	// Limit is how many entries to give; 0 is the Sandbox's own limit.
	Limit int
}

// Backup is what came of one.
type Backup struct {
	// Digest is that of the archive, as Restore takes it, Bytes its length.
	Digest string
	Bytes  int64
	// Entries are in it; Skipped are not: sockets, fifos and devices.
	Entries, Skipped int64
}
