package server_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

func TestList(t *testing.T) {
	c := run(t, filepath.Join(t.TempDir(), "s"))
	if _, err := c.Exec(t.Context(), toolShell(`mkdir d; cd d; for i in $(seq -w 0 2999); do : > f$i; done; ln -s /etc/passwd z-link; mkdir z-dir; : > "$(printf 'z\\377')"`)); err != nil {
		t.Fatal(err)
	}
	var names []string
	after, pages := "", 0
	for more := true; more; pages++ {
		list, err := c.List(t.Context(), "d", after, 700)
		if err != nil || list.Path != "d" || len(list.Entries) == 0 {
			t.Fatalf("%+v, %v", list, err)
		}
		for _, e := range list.Entries {
			names = append(names, e.Name)
			switch {
			case e.Name == "z-link" && (e.Target != "/etc/passwd" || e.Mode.Type() != os.ModeSymlink):
				t.Errorf("the link: %+v", e)
			case e.Name == "z-dir" && !e.Mode.IsDir():
				t.Errorf("the folder: %+v", e)
			}
		}
		after, more = names[len(names)-1], list.More
	}
	if len(names) != 3003 || pages != 5 {
		t.Fatalf("%d names on %d pages", len(names), pages)
	}
	for i := range 3000 {
		if want := fmt.Sprintf("f%04d", i); names[i] != want {
			t.Fatalf("name %d is %s, want %s", i, names[i], want)
		}
	}
	// The name that is no text is one that can be asked for.
	if _, err := c.ReadFile(t.Context(), "d/"+names[3002], 10); err != nil {
		t.Errorf("%q: %v", names[3002], err)
	}
}

func TestRemoveIf(t *testing.T) {
	c := run(t, filepath.Join(t.TempDir(), "s"))
	info, err := c.WriteFile(t.Context(), "f", []byte("x"), tool.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), toolShell("echo more >> f; ln -s f link")); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveIf(t.Context(), "f", info.Digest); !errors.Is(err, tool.ErrPreconditionFailed) {
		t.Errorf("a file that was changed: %v", err)
	}
	if err := c.RemoveIf(t.Context(), "link", info.Digest); !errors.Is(err, tool.ErrNotRegular) {
		t.Errorf("a link: %v", err)
	}
	now, err := c.ReadFile(t.Context(), "f", 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveIf(t.Context(), "f", now.Digest); err != nil {
		t.Errorf("the file as it is: %v", err)
	}
	if err := c.RemoveIf(t.Context(), "f", now.Digest); !errors.Is(err, tool.ErrPreconditionFailed) {
		t.Errorf("a file that is gone: %v", err)
	}
}
