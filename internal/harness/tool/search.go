package tool

// LineRange says which lines of a file are wanted. Zero values mean the
// executor's defaults.
type LineRange struct {
	// From is the first line, counted from 1.
	From int
	// Column is where the first line is to begin: bytes of its text, counted from 1.
	Column int
	// Count is how many lines at most.
	Count int
	// MaxBytes bounds all lines together; what does not fit is left for the next read.
	MaxBytes int
	// MaxLineBytes bounds one line; longer ones are cut.
	MaxLineBytes int
}

// Lines are some lines of a file.
type Lines struct {
	// FileInfo has the size and the digest of the whole file, not of the lines.
	FileInfo
	// Lines are without their line ends.
	Lines []Line
	// TotalLines counts all lines of the file.
	TotalLines int
	// Binary is true when the file does not look like text; Lines is empty then.
	Binary bool
	// Encoding is the name of what the file is written in, empty for UTF-8.
	// Without a byte order mark it is a guess.
	Encoding string
	// BOM is true when the file begins with a byte order mark, which is not in Lines.
	BOM bool
	// CRLF counts lines that end in CR LF.
	CRLF int
	// CR is true when all line ends are a CR alone.
	CR bool
	// NoFinalNewline is true when the last line has no line end.
	NoFinalNewline bool
	// Controls and Stray count the control characters and the bytes that are no
	// UTF-8 in Lines. They are written as package textfile shows them.
	Controls int
	Stray    int
}

// Line is one line of a file.
type Line struct {
	Text string
	// OmittedBytes at its end were cut off.
	OmittedBytes int
	// Next is the column at which they begin, for another request.
	Next int
}

// GrepRequest is a search in file contents.
type GrepRequest struct {
	// Pattern is a regular expression in Go's syntax (RE2), matched line by line.
	Pattern string
	// Path is a folder or a file; empty is the workspace.
	Path string
	// Include is a glob for file names; one without a slash matches in sub-folders too.
	Include    string
	IgnoreCase bool
	// Ignored searches what git ignores, too, after all else.
	Ignored bool
	// Context is how many lines to give before and after each match.
	Context int
	// MaxMatches bounds the answer; 0 is the executor's default.
	MaxMatches int
}

// GrepResult is what a search found, ordered by path and line.
type GrepResult struct {
	Files []GrepFile
	// Matches counts all lines that matched, also those left out of Files.
	Matches int
	// Searched counts the files that were read.
	Searched int
	// Truncated is true when some are missing from Files, Ended when a limit ended
	// the search early, so that there may be more than Matches.
	Truncated bool
	Ended     bool
	// Skipped is what was passed over because git ignores it.
	Skipped Skipped
	// Notes tell what else was skipped, and why.
	Notes []string
}

// Skipped counts what a search passed over because git ignores it, or a file
// .ignore or .rgignore does: whole folders, and single files that it was about.
type Skipped struct {
	Dirs  int
	Files int
	// Names are the first of both; a folder ends in a slash.
	Names []string
}

// GrepFile holds the matches of one file.
type GrepFile struct {
	Path  string
	Lines []GrepLine
}

// GrepLine is a line that matched, or one beside it.
type GrepLine struct {
	Number int
	// Text is written as package textfile shows it. A long line is cut: Text
	// begins at Column then, if that is not 0, a column of LineRange.
	Text   string
	Column int
	Match  bool
}

// GlobRequest is a search for file names.
type GlobRequest struct {
	// Pattern is a glob with **, relative to Path; one without a slash matches in sub-folders too.
	Pattern string
	// Path is a folder; empty is the workspace.
	Path string
	// Ignored lists what git ignores, too, after all else.
	Ignored bool
	// MaxPaths bounds the answer; 0 is the executor's default.
	MaxPaths int
}

// GlobResult lists files, ordered by path, relative to the workspace.
type GlobResult struct {
	Paths []string
	// Total counts all that matched, also those left out of Paths.
	Total int
	// Skipped is what was passed over because git ignores it.
	Skipped Skipped
	Notes   []string
	// Truncated is true when some are missing from Paths or a limit ended the search early.
	Truncated bool
}
