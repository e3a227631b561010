package conformance

import "slices"

// Why a case cannot be tried from afar.
const (
	needsMachine = "it looks at files and processes of the server's machine by itself"
	needsOwner   = "it asks for what only the sandbox's own runner may ask for"
)

// fromAfar are the cases that ask the server only, for what anybody may ask for who has
// been let in.
var fromAfar = []string{
	"exec/results", "exec/streams", "exec/stdin", "exec/invalid", "exec/long output", "exec/terminal", "exec/output file", "exec/utf-8 cut",
	"files/preconditions", "files/remove",
	"backup", "process/input", "process/resume", "status",
}

// forOwner are those that ask for what is the owner's.
var forOwner = []string{"exec/stop all", "process/ends", "tools", "lines", "grep", "grep/skips", "glob", "ignored"}

// FromAfar are all cases, for a Subject that is on another machine and is not asked by its
// owner. What cannot be tried so is skipped, and says why.
func FromAfar() []Case {
	cases := slices.Concat(Cases(), EndpointCases())
	for i, c := range cases {
		if slices.Contains(fromAfar, c.Name) {
			continue
		}
		why := needsMachine
		if slices.Contains(forOwner, c.Name) {
			why = needsOwner
		}
		cases[i].Test = func(t T, _ Subject) { t.Skipf("%s", why) }
	}
	return cases
}
