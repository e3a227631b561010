package engine

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseOOM(t *testing.T) {
	for name, tc := range map[string]struct {
		data string
		want int64
		ok   bool
	}{
		"v2":         {"low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n", 2, true},
		"v1":         {"oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", 7, true},
		"old kernel": {"oom_kill_disable 0\nunder_oom 0\n", 0, false},
		"empty":      {"", 0, false},
	} {
		if got, ok := parseOOM([]byte(tc.data)); got != tc.want || ok != tc.ok {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
	}
}

func TestBaseEnv(t *testing.T) {
	got := baseEnv([]string{"A=1", "HOME=/", "PAGER=less", execIDEnv + "=old", "A=2"})
	for _, want := range []string{"A=2", "HOME=/tmp", "PAGER=cat", "PATH=" + defaultPath, "TERM=dumb"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in %v", want, got)
		}
	}
	if getEnv(got, execIDEnv) != "" {
		t.Error("the mark of an outer command was kept")
	}
}

func FuzzHeadTail(f *testing.F) {
	f.Add([]byte("aé€😀bcdefgh"), 7, 3)
	f.Add([]byte(strings.Repeat("x", 100)), 10, 100)
	f.Add([]byte("é€"), 4, 7)     // a tail of nothing but continuation bytes
	f.Add([]byte("aa😀bb"), 10, 7) // and one that has three of them
	f.Fuzz(func(t *testing.T, data []byte, limit, chunk int) {
		limit, chunk = 1+abs(limit)%300, 1+abs(chunk)%50
		h := headTail{limit: limit}
		for rest := data; len(rest) > 0; {
			n := min(chunk, len(rest))
			h.write(rest[:n])
			rest = rest[n:]
		}
		for _, l := range []int{limit, limit / 2, 1} {
			out, cut, omitted := h.bounded(l)
			if len(out) > max(l, 0) || int64(len(out))+omitted != int64(len(data)) {
				t.Fatalf("limit %d of %d: %d kept, %d omitted, %d in all", l, limit, len(out), omitted, len(data))
			}
			if !strings.HasPrefix(string(data), string(out[:cut])) || !strings.HasSuffix(string(data), string(out[cut:])) {
				t.Fatalf("limit %d: %q + %q is not the head and tail of %q", l, out[:cut], out[cut:], data)
			}
			if utf8.Valid(data) && omitted > 0 && (!utf8.Valid(out[:cut]) || !utf8.Valid(out[cut:])) {
				t.Fatalf("limit %d: a character of %q was split: %q + %q", l, data, out[:cut], out[cut:])
			}
		}
	})
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"a", "../x", "/ws/a", "/ws/../etc", "a//b/./../c", "\x00", "/wsx", "/ws", "..a/.."} {
		f.Add(s)
	}
	e := &Engine{workspace: "/ws", aliases: []string{"/alias"}}
	f.Fuzz(func(t *testing.T, p string) {
		rel, err := e.clean(p)
		if err != nil {
			return
		}
		if rel == "" || strings.HasPrefix(rel, "/") || rel == ".." || strings.HasPrefix(rel, "../") || strings.Contains(rel, "/../") || strings.IndexByte(rel, 0) >= 0 {
			t.Fatalf("%q was taken as %q", p, rel)
		}
		if again, err := e.clean(rel); err != nil || again != rel {
			t.Fatalf("%q became %q, and that %q, %v", p, rel, again, err)
		}
	})
}
