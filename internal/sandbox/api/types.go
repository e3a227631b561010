package api

import (
	"io/fs"
	"time"
)

// ExecRequest is the body of POST /v1/exec: a command to run. Exactly one of Argv and Shell is set.
type ExecRequest struct {
	Argv []string `json:"argv,omitempty"`
	// Shell is run by `bash -c`, or `sh -c` where there is no bash.
	Shell string `json:"shell,omitempty"`
	// Cwd is inside the workspace; empty is its root.
	Cwd string `json:"cwd,omitempty"`
	// Env is added to the sandbox's own environment.
	Env map[string]string `json:"env,omitempty"`
	// Stdin is fed to the command, then closed; empty is closed at once.
	Stdin []byte `json:"stdin,omitempty"`
	// TimeoutSeconds kills the command and all it started; 0 is the server's cap.
	TimeoutSeconds float64 `json:"timeoutSeconds,omitempty"`
	// MaxOutputBytes bounds Stdout and Stderr together: the first and the last
	// half are kept and the middle is counted; 0 is the server's default.
	MaxOutputBytes int64 `json:"maxOutputBytes,omitempty"`
	// MergeStderr sends stderr to Stdout, in the order in which both were written.
	MergeStderr bool `json:"mergeStderr,omitempty"`
	// Isolated makes it the only request: every other one and every process of
	// earlier commands is ended first, new ones are refused with CodeIsolated until it
	// is over, and nothing is left of it. The command gets a new, empty home and
	// folder for temporary files, and a PATH without folders in which tools can put
	// programs. It is for commands whose exit status decides something.
	Isolated bool `json:"isolated,omitempty"`
	// Files, by name, are put into a new folder, read-only, before an isolated command is
	// run; it has the folder's path in its environment, as VERIFY_FILES. Nothing that ran
	// before sees them, and they are gone after it.
	Files map[string][]byte `json:"files,omitempty"`
	// Terminal gives Stdout and Stderr as a terminal would show them at the end:
	// of progress bars their last state, no colours. The whole output is kept as
	// it came.
	Terminal bool `json:"terminal,omitempty"`
	// OutputFile is a file in the workspace that gets all output as it comes
	// (up to the server's limit), so that others can follow a long command.
	OutputFile string `json:"outputFile,omitempty"`
}

// ExecResult is how a command ended.
type ExecResult struct {
	// Stdout and Stderr are each cut to their
	// head and tail where they were longer than asked for.
	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
	// ExitCode is nil when the command did not exit by itself.
	ExitCode *int `json:"exitCode,omitempty"`
	// Signal is the name of the signal that ended it ("SIGKILL"), else empty.
	Signal string `json:"signal,omitempty"`
	// OmittedBytes of stdout and stderr were left out.
	OmittedStdoutBytes int64 `json:"omittedStdoutBytes,omitempty"`
	OmittedStderrBytes int64 `json:"omittedStderrBytes,omitempty"`
	// StdoutCut and StderrCut are the offsets in Stdout and Stderr at which the
	// omitted bytes are missing; cuts never split a UTF-8 character.
	StdoutCut int64 `json:"stdoutCut,omitempty"`
	StderrCut int64 `json:"stderrCut,omitempty"`
	// FullOutputPath is where the whole output is kept when some was omitted, or
	// the OutputFile that was asked for; readable as a file and by
	// lines; empty otherwise. It lies below .sampan/output in the workspace,
	// where git does not see it; old ones are removed when there are too many.
	FullOutputPath string `json:"fullOutputPath,omitempty"`
	// FullOutputOmittedBytes are missing at the end of that file, too, because
	// it reached its limit or the disk was full.
	FullOutputOmittedBytes int64 `json:"fullOutputOmittedBytes,omitempty"`
	// LeftoverKilled counts processes that the command left behind and that were killed.
	LeftoverKilled int  `json:"leftoverKilled,omitempty"`
	TimedOut       bool `json:"timedOut,omitempty"`
	// ProcessLimit says that it was killed because commands had too many processes.
	ProcessLimit bool `json:"processLimit,omitempty"`
	// OOMKilled says that the kernel killed something for lack of memory while the command ran.
	OOMKilled bool          `json:"oomKilled,omitempty"`
	Duration  time.Duration `json:"durationNanos"`
}

// FileInfo describes a path.
type FileInfo struct {
	// Path is relative to the workspace, slash-separated and clean.
	Path string `json:"path"`
	Size int64  `json:"size"`
	// Mode holds type and permission bits.
	Mode fs.FileMode `json:"mode"`
	// Digest is "sha256:" and the hex digest of a regular file's content where
	// it was read or written; empty for a Stat.
	Digest  string    `json:"digest,omitempty"`
	ModTime time.Time `json:"modTime"`
}

// List is the answer of GET /v1/files/{path}?list.
type List struct {
	// Path is the folder's.
	Path    string  `json:"path"`
	Entries []Entry `json:"entries"`
	// More says that there are others: ?list&after=NAME goes on after the last.
	More bool `json:"more,omitempty"`
}

// Entry is what a folder holds under one name.
type Entry struct {
	Name    string      `json:"name"`
	Size    int64       `json:"size"`
	Mode    fs.FileMode `json:"mode"`
	ModTime time.Time   `json:"modTime"`
	// Target is where a symlink leads.
	Target string `json:"target,omitempty"`
}

// LinesRequest is the body of POST /v1/lines.
type LinesRequest struct {
	Path string `json:"path"`
	LineRange
}

// LineRange says which lines of a file are wanted. Zero values mean the
// server's defaults.
type LineRange struct {
	// From is the first line, counted from 1.
	From int `json:"from,omitempty"`
	// Column is where the first line is to begin: bytes of its text, counted from 1.
	Column int `json:"column,omitempty"`
	// Count is how many lines at most.
	Count int `json:"count,omitempty"`
	// MaxBytes bounds all lines together; what does not fit is left for the next read.
	MaxBytes int `json:"maxBytes,omitempty"`
	// MaxLineBytes bounds one line; longer ones are cut.
	MaxLineBytes int `json:"maxLineBytes,omitempty"`
}

// Lines are some lines of a file.
type Lines struct {
	// FileInfo has the size and the digest of the whole file, not of the lines.
	FileInfo
	// Lines are without their line ends.
	Lines []Line `json:"lines,omitempty"`
	// TotalLines counts all lines of the file.
	TotalLines int `json:"totalLines"`
	// Binary is true when the file does not look like text; Lines is empty then.
	Binary bool `json:"binary,omitempty"`
	// Encoding is the name of what the file is written in, empty for UTF-8.
	// Without a byte order mark it is a guess.
	Encoding string `json:"encoding,omitempty"`
	// BOM is true when the file begins with a byte order mark, which is not in Lines.
	BOM bool `json:"bom,omitempty"`
	// CRLF counts lines that end in CR LF.
	CRLF int `json:"crlf,omitempty"`
	// CR is true when all line ends are a CR alone.
	CR bool `json:"cr,omitempty"`
	// NoFinalNewline is true when the last line has no line end.
	NoFinalNewline bool `json:"noFinalNewline,omitempty"`
	// Controls and Stray count the control characters and the bytes that are no
	// UTF-8 in Lines. They are written as package textfile shows them.
	Controls int `json:"controls,omitempty"`
	Stray    int `json:"stray,omitempty"`
}

// Line is one line of a file.
type Line struct {
	Text string `json:"text"`
	// OmittedBytes at its end were cut off.
	OmittedBytes int `json:"omittedBytes,omitempty"`
	// Next is the column at which they begin, for another request.
	Next int `json:"next,omitempty"`
}

// GrepRequest is the body of POST /v1/grep: a search in file contents.
type GrepRequest struct {
	// Pattern is a regular expression in Go's syntax (RE2), matched line by line.
	Pattern string `json:"pattern"`
	// Path is a folder or a file; empty is the workspace.
	Path string `json:"path,omitempty"`
	// Include is a glob for file names; one without a slash matches in sub-folders too.
	Include    string `json:"include,omitempty"`
	IgnoreCase bool   `json:"ignoreCase,omitempty"`
	// Ignored searches what git ignores, too, after all else.
	Ignored bool `json:"ignored,omitempty"`
	// Context is how many lines to give before and after each match.
	Context int `json:"context,omitempty"`
	// MaxMatches bounds the answer; 0 is the server's default.
	MaxMatches int `json:"maxMatches,omitempty"`
}

// GrepResult is what a search found, ordered by path and line.
type GrepResult struct {
	Files []GrepFile `json:"files,omitempty"`
	// Matches counts all lines that matched, also those left out of Files.
	Matches int `json:"matches"`
	// Searched counts the files that were read.
	Searched int `json:"searched"`
	// Truncated is true when some are missing from Files, Ended when a limit ended
	// the search early, so that there may be more than Matches.
	Truncated bool `json:"truncated,omitempty"`
	Ended     bool `json:"ended,omitempty"`
	// Skipped is what was passed over because git ignores it.
	Skipped Skipped `json:"skipped"`
	// Notes tell what else was skipped, and why.
	Notes []string `json:"notes,omitempty"`
}

// Skipped counts what a search passed over because git ignores it, or a file
// .ignore or .rgignore does: whole folders, and single files that it was about.
type Skipped struct {
	Dirs  int `json:"dirs,omitempty"`
	Files int `json:"files,omitempty"`
	// Names are the first of both; a folder ends in a slash.
	Names []string `json:"names,omitempty"`
}

// GrepFile holds the matches of one file.
type GrepFile struct {
	Path  string     `json:"path"`
	Lines []GrepLine `json:"lines"`
}

// GrepLine is a line that matched, or one beside it.
type GrepLine struct {
	Number int `json:"number"`
	// Text is written as package textfile shows it. A long line is cut: Text
	// begins at Column then, if that is not 0, a column of LineRange.
	Text   string `json:"text"`
	Column int    `json:"column,omitempty"`
	Match  bool   `json:"match,omitempty"`
}

// GlobRequest is the body of POST /v1/glob: a search for file names.
type GlobRequest struct {
	// Pattern is a glob with **, relative to Path; one without a slash matches in sub-folders too.
	Pattern string `json:"pattern"`
	// Path is a folder; empty is the workspace.
	Path string `json:"path,omitempty"`
	// Ignored lists what git ignores, too, after all else.
	Ignored bool `json:"ignored,omitempty"`
	// MaxPaths bounds the answer; 0 is the server's default.
	MaxPaths int `json:"maxPaths,omitempty"`
}

// GlobResult lists files, ordered by path, relative to the workspace.
type GlobResult struct {
	Paths []string `json:"paths,omitempty"`
	// Total counts all that matched, also those left out of Paths.
	Total int `json:"total"`
	// Skipped is what was passed over because git ignores it.
	Skipped Skipped  `json:"skipped"`
	Notes   []string `json:"notes,omitempty"`
	// Truncated is true when some are missing from Paths or a limit ended the search early.
	Truncated bool `json:"truncated,omitempty"`
}

// Restored is the answer of PUT /v1/backup.
type Restored struct {
	// Digest is that of the archive.
	Digest string `json:"digest"`
	// Entries are files, folders and links, Bytes what the files hold.
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
}
