package tool

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/textfile"
)

// Tool is something a model may call.
type Tool struct {
	// Spec is what the model is told.
	Spec llm.ToolSpec
	// ReadOnly tools change nothing, so that several calls may run at once.
	ReadOnly bool

	params *params
	run    func(ctx context.Context, s *Set, args []byte) (Result, error)
}

// Name is what the model calls the tool by.
func (t Tool) Name() string { return t.Spec.Name }

// Result is what the model sees of a call. It is bounded and valid UTF-8.
type Result struct {
	Content string
	// IsError says that the call did not do what it was meant to do. A command
	// that ran and exited with a status other than 0 is no error.
	IsError bool
}

// Options bound what tools may do.
type Options struct {
	// ToolTimeout is the longest that one call may take, whatever the model
	// asks for (default 10 min). A background command is not bound by it.
	ToolTimeout time.Duration
	// MaxOutputBytes bounds a Result (default 30,000).
	MaxOutputBytes int
	// MaxBackground bounds how many background commands run at once (default 8).
	MaxBackground int
}

const (
	defaultToolTimeout = 10 * time.Minute
	defaultOutputBytes = 30_000
	minOutputBytes     = 1_000
	defaultBackground  = 8
)

// Set is the tools of one run, bound to its executor. It remembers what the
// model has read and what runs in the background.
type Set struct {
	exec  Executor
	opts  Options
	tools []Tool

	mu sync.Mutex
	// seen is each file as the model knows it.
	seen map[string]view

	jobs jobs
}

// builtin gives all tools; making their schemas once is enough.
var builtin = sync.OnceValue(func() []Tool {
	return []Tool{readFileTool(), writeFileTool(), editFileTool(), bashTool(), grepTool(), globTool()}
})

// Names gives the names of all built-in tools, in the order in which models see them.
func Names() []string {
	var out []string
	for _, t := range builtin() {
		out = append(out, t.Name())
	}
	return out
}

// NewSet binds the allowed tools to an executor; none named means all of them.
func NewSet(exec Executor, allowed []string, opts Options) (*Set, error) {
	if opts.ToolTimeout <= 0 {
		opts.ToolTimeout = defaultToolTimeout
	}
	if opts.MaxOutputBytes <= 0 {
		opts.MaxOutputBytes = defaultOutputBytes
	}
	opts.MaxOutputBytes = max(opts.MaxOutputBytes, minOutputBytes)
	if opts.MaxBackground <= 0 {
		opts.MaxBackground = defaultBackground
	}
	s := &Set{exec: exec, opts: opts, seen: map[string]view{}}
	s.jobs.init()
	for _, name := range allowed {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("unknown tool %q: the tools are %s", name, strings.Join(Names(), ", "))
		}
	}
	for _, t := range builtin() {
		if len(allowed) == 0 || slices.Contains(allowed, t.Name()) {
			s.tools = append(s.tools, t)
		}
	}
	return s, nil
}

// Specs gives what the model is told, always in the same order.
func (s *Set) Specs() []llm.ToolSpec {
	out := make([]llm.ToolSpec, len(s.tools))
	for i, t := range s.tools {
		out[i] = t.Spec
	}
	return out
}

// ReadOnly is true for a tool that changes nothing; an unknown one is none.
func (s *Set) ReadOnly(name string) bool {
	t, ok := s.find(name)
	return ok && t.ReadOnly
}

func (s *Set) find(name string) (Tool, bool) {
	i := slices.IndexFunc(s.tools, func(t Tool) bool { return t.Name() == name })
	if i < 0 {
		return Tool{}, false
	}
	return s.tools[i], true
}

// Run runs one call. Whatever is wrong with the call is told to the model in
// the Result. An error is returned only when ctx has ended (then it is ctx's)
// or the executor is gone (then it wraps ErrExecutorGone).
func (s *Set) Run(ctx context.Context, call llm.ToolCall) (res Result, err error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	defer func() {
		if v := recover(); v != nil {
			res = failed("The tool %s failed by a bug of its own (%v). Try another way.\n%s", call.Name, v, firstFrames(debug.Stack()))
			err = nil
		}
		res.Content, _ = textfile.Show(res.Content) // of paths and the like; the rest is shown so already
		res.Content = bound(res.Content, s.opts.MaxOutputBytes, "")
	}()
	t, ok := s.find(call.Name)
	if !ok {
		return s.unknown(call.Name), nil
	}
	args, err := t.params.parse(call.Arguments)
	if err != nil {
		return failed("%v", err), nil
	}
	res, err = t.run(ctx, s, args)
	if err == nil {
		return res, nil
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		return Result{}, ctxErr
	}
	if errors.Is(err, ErrExecutorGone) {
		return Result{}, err
	}
	return failed("%s", s.advise(err)), nil
}

// unknown answers a call of a tool that is not there.
func (s *Set) unknown(name string) Result {
	names := make([]string, len(s.tools))
	for i, t := range s.tools {
		names[i] = t.Name()
	}
	return failed("There is no tool %q. The tools are: %s.", text.Clip(name, 100), strings.Join(names, ", "))
}

// Close ends what runs in the background and waits until it is dead or ctx ends.
func (s *Set) Close(ctx context.Context) error { return s.jobs.close(ctx) }

func failed(format string, args ...any) Result {
	return Result{Content: fmt.Sprintf(format, args...), IsError: true}
}

// tip is advice that names tools, empty where the run has not all of them.
func (s *Set) tip(advice string, tools ...string) string {
	for _, name := range tools {
		if _, ok := s.find(name); !ok {
			return ""
		}
	}
	return " " + advice
}

// advise adds to an executor's error what to do about it.
func (s *Set) advise(err error) string {
	text := err.Error()
	for _, a := range []struct {
		err    error
		advice string
		tools  []string
	}{
		{ErrOutsideWorkspace, "Only paths inside the workspace are possible: give one relative to it, such as src/main.go.", nil},
		{ErrNotFound, "Check the path with glob, for instance with the pattern **/NAME.", []string{"glob"}},
		{ErrIsDirectory, "Give a file; list a directory with glob (pattern \"DIR/*\").", []string{"glob"}},
		{ErrNotRegular, "Only regular files can be read or written.", nil},
		{ErrTooLarge, "Work on a part of it with bash (head, tail, sed, split).", []string{"bash"}},
		{ErrPreconditionFailed, "Read it again with read_file, then repeat the change on what is there now.", []string{"read_file"}},
		{ErrPermission, "See its owner and mode with bash (ls -ld). A file without write permission is often generated, or locked by its version control: change that only if the task is about it.", []string{"bash"}},
		{ErrNoSpace, "Remove what is not needed, with bash (du -sh * shows what is large).", []string{"bash"}},
		{context.DeadlineExceeded, "It took too long: narrow it down.", nil},
	} {
		if errors.Is(err, a.err) {
			return text + "." + s.tip(a.advice, a.tools...)
		}
	}
	return text
}

// firstFrames gives the part of a stack that says where a panic was.
func firstFrames(stack []byte) string { return text.Clip(string(stack), 1500) }
