package gitignore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for name, tc := range map[string]struct {
		rules     string
		ignored   []string // a folder ends in a slash
		unignored []string
	}{
		"names":           {"node_modules/\n*.log\nTODO\n", []string{"node_modules/", "a/node_modules/", "x.log", "a/b.log", "TODO", "a/TODO/"}, []string{"node_modules", "log", "x.logs", "TODO2"}},
		"comments":        {"# no\n\n\\#yes\n \n", []string{"#yes"}, []string{"# no", "no", "a"}},
		"spaces":          {"a  \nb\\ \n", []string{"a", "b "}, []string{"a  ", "b"}},
		"line ends, mark": {"\ufeffa\r\nb\r\n", []string{"a", "b"}, []string{"a\r"}},
		"negation":        {"*.log\n!keep.log\n/keep.log\n", []string{"x.log", "keep.log"}, []string{"a/keep.log"}},
		"exclamation":     {"\\!a\n", []string{"!a"}, []string{"a"}},
		"from the folder": {"/build\ndocs/*.txt\n", []string{"build", "docs/a.txt"}, []string{"a/build", "a/docs/a.txt", "docs/b/a.txt"}},
		"two stars":       {"**/foo\nbar/**\na/**/b\nx**y\n", []string{"foo", "a/b/foo", "bar/x", "bar/x/y", "a/b", "a/1/2/b", "xaby"}, []string{"bar/", "bar", "a/c", "x/y"}},
		"classes":         {"[a-c].o\n[!x].p\n[^y].q\n[]z].r\n[[:digit:]_].s\n[[:space:]].t\n", []string{"b.o", "y.p", "x.q", "].r", "z.r", "5.s", "_.s", " .t"}, []string{"d.o", "x.p", "y.q", "a.r", "a.s"}},
		"braces are none": {"{a,b}\n", []string{"{a,b}"}, []string{"a", "b"}},
		"escapes":         {"\\*.c\nfoo\\[1\\]\n", []string{"*.c", "foo[1]"}, []string{"a.c", "foo1"}},
		"not valid":       {"[a\nb\\\n/\n!\n", nil, []string{"[a", "a", "b", "b\\"}},
		"dot files":       {"*\n!.*\n", []string{"a"}, []string{".env"}},
	} {
		t.Run(name, func(t *testing.T) {
			rules := Parse([]byte(tc.rules))
			for want, paths := range map[bool][]string{true: tc.ignored, false: tc.unignored} {
				for _, p := range paths {
					if got := rules.Match(strings.TrimSuffix(p, "/"), strings.HasSuffix(p, "/")); (got == Ignored) != want {
						t.Errorf("%q: ignored %v, want %v", p, got == Ignored, want)
					}
				}
			}
		})
	}
}

// What git itself says of random patterns and paths.
func TestLikeGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func(parts ...string) string {
		var b strings.Builder
		for range 1 + rnd.IntN(4) {
			b.WriteString(parts[rnd.IntN(len(parts))])
		}
		return b.String()
	}
	dir := t.TempDir()
	git(t, dir, nil, "init", "-q")
	for range 60 {
		var rules strings.Builder
		for range 1 + rnd.IntN(4) {
			rules.WriteString(word("a", "b", "*", "**", "/", "?", "[ab]", "[!a]", "!", "/**/", "\\a", " ", "{", ".") + "\n")
		}
		if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(rules.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		var paths []string
		for range 60 {
			if p := strings.Trim(word("a", "b", "c", "/", ".", "{", " x"), "/"); !strings.Contains(p, "//") && filepath.IsLocal(p) && filepath.Clean(p) == p && p != "." {
				paths = append(paths, p)
			}
		}
		out := git(t, dir, []byte(strings.Join(paths, "\x00")+"\x00"), "check-ignore", "-z", "--stdin", "--no-index")
		said := map[string]bool{}
		for p := range strings.SplitSeq(string(out), "\x00") {
			said[p] = true
		}
		parsed := Parse([]byte(rules.String()))
		for _, p := range paths {
			if got := ignored(parsed, p); got != said[p] {
				t.Errorf("rules %q, path %q: ignored %v, git says %v", rules.String(), p, got, said[p])
			}
		}
	}
}

// ignored follows a path from its first folder, as a walk does.
func ignored(rules Rules, p string) bool {
	for i, c := range p {
		if c == '/' && rules.Match(p[:i], true) == Ignored {
			return true
		}
	}
	return rules.Match(p, false) == Ignored
}

// git runs git without the configuration of who runs the test. That nothing is
// ignored is exit status 1 of check-ignore.
func git(t *testing.T, dir string, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir, "XDG_CONFIG_HOME="+dir)
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("git %v: %v", args, err)
	}
	return out
}

func TestIndex(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here")
	}
	for _, version := range []string{"2", "3", "4"} {
		dir := t.TempDir()
		git(t, dir, nil, "init", "-q")
		for i := range 30 {
			name := filepath.Join(dir, fmt.Sprintf("folder/sub%d/%s.txt", i, strings.Repeat("n", i)))
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		git(t, dir, nil, "add", "-A")
		git(t, dir, nil, "update-index", "--index-version", version)
		if version == "3" {
			git(t, dir, nil, "update-index", "--skip-worktree", "folder/sub3/nnn.txt")
		}
		data, err := os.ReadFile(filepath.Join(dir, ".git/index"))
		if err != nil {
			t.Fatal(err)
		}
		x, err := ParseIndex(data)
		if err != nil {
			t.Fatalf("version %s: %v", version, err)
		}
		for p, want := range map[string]bool{"folder/sub3/nnn.txt": true, "folder/sub0/.txt": true, "folder/sub29/": true, "folder/": true, "folder/sub2": false, "fold/": false, "folder/sub3/nn.txt": false} {
			if got := x.Tracks(strings.TrimSuffix(p, "/"), strings.HasSuffix(p, "/")); got != want {
				t.Errorf("version %s: %s is tracked: %v, want %v", version, p, got, want)
			}
		}
		if len(x.paths) != 30 {
			t.Errorf("version %s: %d paths", version, len(x.paths))
		}
	}
	if (*Index)(nil).Tracks("a", false) {
		t.Error("no index tracks nothing")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("[[:alpha:]-]\\\n!{a,**/b}/\n"), "a/b")
	f.Fuzz(func(_ *testing.T, rules []byte, p string) { Parse(rules).Match(p, true) })
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x01" + strings.Repeat("\x00", 62) + "a\x00"))
	f.Add([]byte("DIRC\x00\x00\x00\x04\x00\x00\x00\x01" + strings.Repeat("\x00", 62) + "\x00a\x00"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if x, err := ParseIndex(data); err == nil {
			x.Tracks("a", true)
		}
	})
}
