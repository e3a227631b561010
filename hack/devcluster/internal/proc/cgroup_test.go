package proc

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writeTree makes files, and the folders that they are in.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestMembersAreThoseOfTheGroupOnly(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"version 1": {
			"pids/cgroup.procs":               "1\n2\n",
			"pids/ours/cgroup.procs":          "",
			"pids/ours/system/cgroup.procs":   "10\n11\n",
			"pids/ours/kubepods/cgroup.procs": "12\n0\n",
			"pids/others/cgroup.procs":        "99\n",
			"memory/cgroup.procs":             "1\n",
			"memory/ours/cgroup.procs":        "98\n",
		},
		"version 2": {
			"cgroup.controllers":         "cpu memory pids\n",
			"cgroup.procs":               "1\n2\n",
			"ours/cgroup.procs":          "",
			"ours/system/cgroup.procs":   "10\n11\n",
			"ours/kubepods/cgroup.procs": "12\n0\n",
			"others/cgroup.procs":        "99\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Cgroup{Name: "ours", Root: writeTree(t, files)}.Members()
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			if diff := cmp.Diff([]int{10, 11, 12}, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMembersOfNoGroup(t *testing.T) {
	root := writeTree(t, map[string]string{"cgroup.controllers": "pids\n", "cgroup.procs": "1\n"})
	got, err := Cgroup{Name: "ours", Root: root}.Members()
	if err != nil || len(got) != 0 {
		t.Errorf("members = %v, %v, want none", got, err)
	}
}
