package conformance

import (
	"context"
	"encoding/json"
	"os"
	"strings"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
)

// testTools runs the model's own tools on the executor: what they promise of
// files must hold wherever the files are.
func testTools(t T, s Subject) {
	set, err := tool.NewSet(s, nil, tool.Options{})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		must(t, set.Close(ctx))
	})
	for name, tc := range map[string]struct {
		data, old, new, want string
		mode                 os.FileMode
		// refused is said instead.
		refused string
	}{
		"mode bits":              {data: "a\n", old: "a", new: "b", want: "b\n", mode: 0o750},
		"read-only":              {data: "a\n", old: "a", new: "b", mode: 0o444, refused: "the file is read-only"},
		"CRLF":                   {data: "a\r\nb\r\nc\r\n", old: "b\nc", new: "B\nX\nC", want: "a\r\nB\r\nX\r\nC\r\n"},
		"mixed line ends":        {data: "a\r\nb\nc\r\nd\n", old: "a\nb\nc\n", new: "a\nX\nc\n", want: "a\r\nX\nc\r\nd\n"},
		"BOM":                    {data: "\ufeffa\nb\n", old: "a\n", new: "x\n", want: "\ufeffx\nb\n"},
		"BOM and CRLF":           {data: "\ufeffa\r\nb\r\n", old: "a\nb\n", new: "c\nd\n", want: "\ufeffc\r\nd\r\n"},
		"no final newline":       {data: "a\nb", old: "b", new: "c", want: "a\nc"},
		"UTF-8 borders":          {data: "aé€😀b", old: "€😀", new: "ü", want: "aéüb"},
		"half a character":       {data: "é\n", old: "è", new: "x", refused: "not in the file"},
		"bytes that are no text": {data: "\xff\xfe\na\n", old: "a", new: "b", want: "\xff\xfe\nb\n"},
		"binary":                 {data: "a\x00b", old: "a", new: "b", refused: "is binary"},
		"twice":                  {data: "a\na\n", old: "a", new: "b", refused: "twice, in lines 1, 2"},
	} {
		t.Run(name, func(t T) {
			if tc.mode == 0 {
				tc.mode = 0o644
			}
			path := "dir/" + strings.ReplaceAll(name, " ", "-")
			must(t, os.MkdirAll(s.onDisk("dir"), 0o755))
			must(t, os.WriteFile(s.onDisk(path), []byte(tc.data), tc.mode))
			must(t, os.Chmod(s.onDisk(path), tc.mode))
			res := call(t, set, "edit_file", map[string]any{"path": path, "old_text": tc.old, "new_text": tc.new})
			want := tc.want
			if tc.refused != "" {
				want = tc.data
			}
			if res.IsError != (tc.refused != "") || !strings.Contains(res.Content, tc.refused) {
				t.Errorf("edit_file gave %+v", res)
			}
			data, err := os.ReadFile(s.onDisk(path))
			must(t, err)
			info, err := os.Stat(s.onDisk(path))
			must(t, err)
			if string(data) != want || info.Mode() != tc.mode {
				t.Errorf("the file is %q with mode %v, want %q with %v", data, info.Mode(), want, tc.mode)
			}
		})
	}
	testStaleEdit(t, s, set)
}

// testStaleEdit: a file that has changed since the model read it is not edited.
func testStaleEdit(t T, s Subject, set *tool.Set) {
	s.write(t, "stale", "one\n")
	if res := call(t, set, "read_file", map[string]any{"path": "stale"}); res.IsError {
		t.Fatalf("read_file gave %+v", res)
	}
	must(t, os.WriteFile(s.onDisk("stale"), []byte("one and more\n"), 0o644))
	res := call(t, set, "edit_file", map[string]any{"path": "stale", "old_text": "one", "new_text": "two"})
	if !res.IsError || !strings.Contains(res.Content, "has changed since") {
		t.Errorf("edit_file gave %+v", res)
	}
	if data, _ := os.ReadFile(s.onDisk("stale")); string(data) != "one and more\n" {
		t.Errorf("the file is %q", data)
	}
}

func call(t T, set *tool.Set, name string, args map[string]any) tool.Result {
	t.Helper()
	data, err := json.Marshal(args)
	must(t, err)
	res, err := set.Run(t.Context(), llm.ToolCall{ID: "1", Name: name, Arguments: string(data)})
	must(t, err)
	return res
}
