package harbor

import (
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	environmentDir = "environment"
	dockerfile     = environmentDir + "/Dockerfile"
)

// environment reads what the workdir has in it.
func (r *reader) environment() {
	entries, err := os.ReadDir(r.path(environmentDir))
	if err != nil {
		if !os.IsNotExist(err) {
			r.refuse(environmentDir, 0, "%v", err)
		}
		return
	}
	for _, e := range entries {
		if name := strings.ToLower(e.Name()); strings.HasPrefix(name, "docker-compose.") || strings.HasPrefix(name, "compose.") {
			r.refuse(environmentDir+"/"+e.Name(), 0, "tasks of several containers cannot be run here")
		}
	}
	text, ok := r.read(dockerfile, false)
	switch {
	case ok:
		r.dockerfile(text)
	case len(entries) > 0:
		r.task.Copies = []Copy{{environmentDir, "."}}
	}
}

// dockerfile honours FROM, WORKDIR and COPY; nothing is built.
func (r *reader) dockerfile(text string) {
	from := 0
	for i, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		n := i + 1
		switch strings.ToUpper(words[0]) {
		case "FROM":
			if from++; from > 1 {
				r.refuse(dockerfile, n, "several stages cannot be built here")
				continue
			}
			r.note(dockerfile, n, "the image is not used: the task has the programs of this machine")
		case "WORKDIR":
			r.dockerWorkdir(n, words[1:])
		case "COPY":
			r.dockerCopy(n, words[1:])
		default:
			r.refuse(dockerfile, n, "%s: nothing is built here; only FROM, WORKDIR and COPY are honoured", strings.ToUpper(words[0]))
		}
	}
}

func (r *reader) dockerWorkdir(line int, args []string) {
	if len(args) != 1 || strings.ContainsAny(args[0], "$\"'\\") {
		r.refuse(dockerfile, line, "WORKDIR: want one path, as it is")
		return
	}
	if len(r.task.Copies) > 0 {
		r.refuse(dockerfile, line, "WORKDIR: it has to come before COPY")
		return
	}
	if err := r.workdir(args[0]); err != nil {
		r.refuse(dockerfile, line, "WORKDIR: %v", err)
	}
}

// dockerCopy takes COPY SOURCE… DESTINATION.
func (r *reader) dockerCopy(line int, args []string) {
	if len(args) < 2 || strings.HasPrefix(args[0], "-") || strings.ContainsAny(strings.Join(args, ""), "$\"'\\*?[<") {
		r.refuse(dockerfile, line, "COPY: want sources and a destination, as they are: no options, patterns or variables")
		return
	}
	to := args[len(args)-1]
	inside, err := filepath.Rel(r.task.Workdir, absolute(r.task.Workdir, to))
	if err != nil || !filepath.IsLocal(inside) {
		r.refuse(dockerfile, line, "COPY: %s is not in the working directory %s", to, r.task.Workdir)
		return
	}
	for _, from := range args[:len(args)-1] {
		source := path.Join(environmentDir, path.Clean("/"+from))
		info, err := os.Stat(r.path(source))
		if err != nil {
			r.refuse(dockerfile, line, "COPY: %v", err)
			continue
		}
		c := Copy{From: source, To: inside}
		if !info.IsDir() && (strings.HasSuffix(to, "/") || inside == "." || len(args) > 2) {
			c.To = path.Join(inside, path.Base(source))
		}
		r.task.Copies = append(r.task.Copies, c)
	}
}

func absolute(base, to string) string {
	if path.IsAbs(to) {
		return path.Clean(to)
	}
	return path.Join(base, to)
}
