package run

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sampan-dev/sampan/internal/eval/harbor"
)

func TestNothingOfAnEvalIsShown(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/usr", link); err != nil {
		t.Fatal(err)
	}
	suite := filepath.Join(dir, "suite")
	tasks := []harbor.Task{{Name: "one", Dir: filepath.Join(suite, "one")}}
	ok := Eval{Out: filepath.Join(dir, "out"), Registry: filepath.Join(dir, "models.yaml"), Tasks: tasks, Expose: []string{filepath.Join(dir, "tools")}}
	if err := ok.CheckFolders(suite); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(e *Eval, suite *string){
		"suite in /usr":      func(_ *Eval, suite *string) { *suite = "/usr/share/suite" },
		"out by a link":      func(e *Eval, _ *string) { e.Out = filepath.Join(link, "out") },
		"registry exposed":   func(e *Eval, _ *string) { e.Registry = filepath.Join(dir, "tools", "models.yaml") },
		"parent exposed":     func(e *Eval, _ *string) { e.Expose = []string{dir} },
		"out in a task":      func(e *Eval, _ *string) { e.Out = filepath.Join(suite, "one", "results") },
		"everything exposed": func(e *Eval, _ *string) { e.Expose = []string{"/"} },
	} {
		e, s := ok, suite
		change(&e, &s)
		if err := e.CheckFolders(s); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}
