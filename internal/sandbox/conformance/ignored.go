package conformance

import (
	"fmt"
	"os"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// testIgnored: a search passes over what git ignores, and says so.
func testIgnored(t T, s Subject) {
	needs(t, "git")
	for _, dir := range []string{"repo", "repo/vendored", "plain", "tracked"} {
		must(t, os.MkdirAll(s.onDisk(dir), 0o755))
		if dir != "plain" {
			s.shell(t, "git init -q "+dir)
		}
	}
	for name, content := range map[string]string{
		"repo/.gitignore": "node_modules/\n*.log\n!keep.log\n/build\n", "repo/sub/.gitignore": "!deep.log\nlocal.txt\n",
		"repo/a.ts": "", "repo/x.log": "", "repo/keep.log": "", "repo/build/o.ts": "", "repo/sub/build/o.ts": "", "repo/sub/deep.log": "",
		"repo/sub/local.txt": "", "repo/local.txt": "", "repo/node_modules/p/index.ts": "", "repo/sub/node_modules/q.ts": "",
		"repo/.git/info/exclude": "secret.txt\n", "repo/secret.txt": "",
		"repo/.ignore": "fixtures/\n!special.log\n", "repo/special.log": "", "repo/fixtures/f.ts": "", "repo/sub/.rgignore": "!fixtures\n", "repo/sub/fixtures/g.ts": "",
		"repo/vendored/v.log": "", "repo/vendored/fixtures/h.ts": "",
		"plain/.gitignore": "*\n", "plain/file.ts": "", "plain/.ignore": "other.ts\n", "plain/other.ts": "",
		"tracked/dist/app.js": "", "tracked/dist/more.js": "", "tracked/config.env": "", "tracked/other.env": "",
	} {
		if content == "" {
			content = "needle\n"
		}
		s.write(t, name, content)
	}
	s.shell(t, "git -C tracked add dist/app.js config.env")
	s.write(t, "tracked/.gitignore", "dist/\n*.env\n")
	for name, tc := range map[string]struct {
		req  tool.GlobRequest
		want string
		// skipped are the counts of folders and files.
		skipped string
	}{
		"a repository": {tool.GlobRequest{Pattern: "**/[a-z]*.*", Path: "repo"},
			"a.ts keep.log local.txt special.log sub/build/o.ts sub/deep.log sub/fixtures/g.ts vendored/v.log", "5 3"},
		"a folder of it":       {tool.GlobRequest{Pattern: "*.log", Path: "repo/sub"}, "deep.log", "1 0"},
		"what is asked for":    {tool.GlobRequest{Pattern: "node_modules/**/*.ts", Path: "repo"}, "node_modules/p/index.ts", "0 0"},
		"by its path":          {tool.GlobRequest{Pattern: "*.ts", Path: "repo/node_modules/p"}, "index.ts", "0 0"},
		"all, ignored last":    {tool.GlobRequest{Pattern: "*.ts", Path: "repo", Ignored: true}, "a.ts sub/build/o.ts sub/fixtures/g.ts build/o.ts fixtures/f.ts node_modules/p/index.ts sub/node_modules/q.ts vendored/fixtures/h.ts", "0 0"},
		"no repository":        {tool.GlobRequest{Pattern: "*.ts", Path: "plain"}, "file.ts", "0 1"},
		"tracked, yet ignored": {tool.GlobRequest{Pattern: "*.*", Path: "tracked"}, ".gitignore config.env dist/app.js", "0 2"},
		"nested repository":    {tool.GlobRequest{Pattern: "*.log", Path: "repo/vendored"}, "v.log", "1 0"},
	} {
		t.Run(name, func(t T) {
			res, err := s.Glob(t.Context(), tc.req)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(strings.Join(res.Paths, " "), tc.req.Path+"/", "")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := fmt.Sprint(res.Skipped.Dirs, " ", res.Skipped.Files); got != strings.ReplaceAll(tc.skipped, " ", "  ") && got != tc.skipped {
				t.Errorf("skipped: %+v, want %s", res.Skipped, tc.skipped)
			}
		})
	}
	testIgnoredGrep(t, s)
	testWorktree(t, s)
}

func testIgnoredGrep(t T, s Subject) {
	res, err := s.Grep(t.Context(), tool.GrepRequest{Pattern: "needle", Path: "repo", Include: "*.ts"})
	const want = "repo/a.ts:1:needle\nrepo/sub/build/o.ts:1:needle\nrepo/sub/fixtures/g.ts:1:needle\n"
	if err != nil || found(res) != want || res.Skipped.Dirs != 5 || res.Skipped.Files != 0 || len(res.Skipped.Names) != 3 || res.Skipped.Names[0] != "repo/build/" {
		t.Errorf("%s%+v, %v", found(res), res.Skipped, err)
	}
	for name, req := range map[string]tool.GrepRequest{
		"named":   {Pattern: "needle", Path: "repo/x.log"},
		"include": {Pattern: "needle", Path: "repo", Include: "build/*.ts"},
		"folder":  {Pattern: "needle", Path: "repo/build"},
		"one":     {Pattern: "needle", Path: "plain", Include: "other.ts", Ignored: true},
	} {
		if res, err := s.Grep(t.Context(), req); err != nil || res.Matches != 1 {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
	// Those that are left out are counted, and what is ignored does not push out the rest.
	s.write(t, "repo/node_modules/many.ts", strings.Repeat("needle\n", 700))
	res, err = s.Grep(t.Context(), tool.GrepRequest{Pattern: "needle", Path: "repo", Include: "*.ts", Ignored: true, MaxMatches: 10})
	if err != nil || res.Matches != 708 || !res.Truncated || res.Ended || !strings.HasPrefix(found(res), want) {
		t.Errorf("%d matches, truncated %v, ended %v, %v:\n%s", res.Matches, res.Truncated, res.Ended, err, found(res))
	}
	s.write(t, "repo/huge.ts", strings.Repeat("needle\n", 50_000))
	res, err = s.Grep(t.Context(), tool.GrepRequest{Pattern: "needle", Path: "repo", Include: "huge.ts"})
	if err != nil || !res.Ended || res.Matches < 10_000 {
		t.Errorf("%d matches, ended %v, %v", res.Matches, res.Ended, err)
	}
}

// testWorktree: the .git of a worktree is a file that leads to the repository.
func testWorktree(t T, s Subject) {
	s.shell(t, `git init -q main && cd main && echo x > f && git add f &&
		git -c user.name=a -c user.email=a@example.com commit -qm one && git worktree add -q ../tree && echo excluded.txt >> .git/info/exclude`)
	for _, name := range []string{"excluded.txt", "kept.txt", "ignored.txt", ".gitignore"} {
		s.write(t, "tree/"+name, "ignored.txt\n")
	}
	res, err := s.Glob(t.Context(), tool.GlobRequest{Pattern: "*", Path: "tree"})
	if diff := cmp.Diff([]string{"tree/.gitignore", "tree/f", "tree/kept.txt"}, res.Paths); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
