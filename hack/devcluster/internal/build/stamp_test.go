package build

import (
	"os"
	"path/filepath"
	"testing"
)

func TestStamp(t *testing.T) {
	source := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stamp := func(settings ...string) string {
		t.Helper()
		stamp, err := Stamp(source, settings)
		if err != nil {
			t.Fatal(err)
		}
		return stamp
	}
	write("go.mod", "module example\n")
	write("go.sum", "")
	write("main.go", "package main\n")
	last := stamp("go1.26")

	for _, step := range []struct {
		name    string
		change  func()
		rebuild bool
	}{
		{"nothing", func() {}, false},
		{"a test", func() { write("main_test.go", "package main\n") }, false},
		{"a note", func() { write("README.md", "hello\n") }, false},
		{"the program", func() { write("main.go", "package main // changed\n") }, true},
		{"a package of it", func() { write("internal/a/a.go", "package a\n") }, true},
		{"a dependency", func() { write("go.sum", "example.com v1.0.0 h1:x\n") }, true},
		{"content moved between files", func() { write("main.go", ""); write("internal/a/a.go", "package main // changed\npackage a\n") }, true},
	} {
		step.change()
		now := stamp("go1.26")
		if rebuild := now != last; rebuild != step.rebuild {
			t.Errorf("after a change of %s: rebuild = %t, want %t", step.name, rebuild, step.rebuild)
		}
		last = now
	}
	if stamp("go1.27") == last {
		t.Error("another toolchain does not rebuild")
	}
	if stamp("a", "b") == stamp("a b") {
		t.Error("different settings have the same stamp")
	}
}

func TestRequiredVersion(t *testing.T) {
	goMod := filepath.Join(t.TempDir(), "go.mod")
	content := "module example\n\nrequire k8s.io/kubernetes v1.36.3\n\nrequire (\n\tk8s.io/kubernetes/other v0.1.0 // indirect\n)\n\nreplace k8s.io/api => k8s.io/api v0.36.3\n"
	if err := os.WriteFile(goMod, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	for module, want := range map[string]string{
		"k8s.io/kubernetes": "v1.36.3", "k8s.io/kubernetes/other": "v0.1.0", "k8s.io/api": "", "k8s.io": "",
	} {
		if got, err := requiredVersion(goMod, module); got != want || (err == nil) != (want != "") {
			t.Errorf("version of %s = %q, %v, want %q", module, got, err, want)
		}
	}
}

// TestProgramsAreBuiltFromThisFolder finds a program whose module was moved, or
// whose version is no longer pinned in it.
func TestProgramsAreBuiltFromThisFolder(t *testing.T) {
	builder := Builder{Source: filepath.Join("..", "..")}
	for _, program := range Programs() {
		if _, err := builder.arguments(program); err != nil {
			t.Errorf("%s: %v", program.Name, err)
		}
		if _, err := os.Stat(filepath.Join(builder.Source, program.Name)); err != nil {
			t.Errorf("%s: %v", program.Name, err)
		}
	}
}
