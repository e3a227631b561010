package cluster

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/proc"
)

func TestDecide(t *testing.T) {
	const inputs, boot = "inputs", "boot"
	names := []string{"etcd", "kubelet"}
	anchor, etcd, kubelet := proc.Identity{PID: 1, Start: 1}, proc.Identity{PID: 2, Start: 2}, proc.Identity{PID: 3, Start: 3}
	recorded := record{
		Inputs: inputs, Boot: boot, Anchor: anchor,
		Processes: map[string]proc.Identity{"etcd": etcd, "kubelet": kubelet},
	}
	alter := func(change func(*record)) *record {
		r := recorded
		change(&r)
		return &r
	}
	for name, tc := range map[string]struct {
		record *record
		alive  []proc.Identity
		want   plan
	}{
		"no cluster":                  {nil, nil, planFresh},
		"all run":                     {&recorded, []proc.Identity{anchor, etcd, kubelet}, planKeep},
		"one died":                    {&recorded, []proc.Identity{anchor, etcd}, planRepair},
		"one was never started":       {alter(func(r *record) { r.Processes = map[string]proc.Identity{"etcd": etcd} }), []proc.Identity{anchor, etcd}, planRepair},
		"all components died":         {&recorded, []proc.Identity{anchor}, planFresh},
		"the namespace's holder died": {&recorded, []proc.Identity{etcd, kubelet}, planFresh},
		"the machine started again":   {alter(func(r *record) { r.Boot = "other" }), []proc.Identity{anchor, etcd, kubelet}, planFresh},
		"made of other programs":      {alter(func(r *record) { r.Inputs = "other" }), []proc.Identity{anchor, etcd, kubelet}, planFresh},
		"a number was reused":         {&recorded, []proc.Identity{anchor, {PID: 2, Start: 9}, kubelet}, planRepair},
	} {
		t.Run(name, func(t *testing.T) {
			alive := func(id proc.Identity) bool {
				for _, a := range tc.alive {
					if a == id {
						return true
					}
				}
				return false
			}
			if got := decide(tc.record, inputs, boot, names, alive); got != tc.want {
				t.Errorf("plan = %d, want %d", got, tc.want)
			}
		})
	}
}

// Another checkout's cluster is not cleared away while it runs.
func TestForeign(t *testing.T) {
	anchor := proc.Identity{PID: 1, Start: 1}
	r := &record{Bin: "/a/bin", Boot: "boot", Anchor: anchor}
	alive := func(id proc.Identity) bool { return id == anchor }
	dead := func(proc.Identity) bool { return false }
	for name, tc := range map[string]struct {
		record    *record
		bin, boot string
		alive     func(proc.Identity) bool
		want      bool
	}{
		"none":            {nil, "/b/bin", "boot", alive, false},
		"ours":            {r, "/a/bin", "boot", alive, false},
		"another's":       {r, "/b/bin", "boot", alive, true},
		"another's, dead": {r, "/b/bin", "boot", dead, false},
		"before a reboot": {r, "/b/bin", "later", alive, false},
		"does not say":    {&record{Boot: "boot", Anchor: anchor}, "/b/bin", "boot", alive, false},
	} {
		if got := foreign(tc.record, tc.bin, tc.boot, tc.alive); got != tc.want {
			t.Errorf("%s: foreign is %v, want %v", name, got, tc.want)
		}
	}
}

func TestRecordIsReadBack(t *testing.T) {
	state := t.TempDir()
	if r, err := readRecord(state); r != nil || err != nil {
		t.Fatalf("record of no cluster = %v, %v", r, err)
	}
	want := &record{
		Inputs: "i", Bin: "/bin", Boot: "b", Anchor: proc.Identity{PID: 1, Start: 2},
		Processes: map[string]proc.Identity{"etcd": {PID: 3, Start: 4}}, Sysctls: map[string]string{"kernel/panic": "0"},
	}
	if err := want.write(state); err != nil {
		t.Fatal(err)
	}
	got, err := readRecord(state)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(recordFile(state), []byte(`{"inputs": "i", "bo`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := readRecord(state); r != nil || err != nil {
		t.Errorf("record that was half written = %v, %v, want none", r, err)
	}
}

func TestOwnsFolder(t *testing.T) {
	for name, tc := range map[string]struct {
		files []string
		want  bool
	}{
		"empty":                   {nil, true},
		"a cluster's":             {[]string{"state.json", "etcd"}, true},
		"its record half written": {[]string{"state.json.new"}, true},
		"somebody's":              {[]string{"photos"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			for _, file := range tc.files {
				if err := os.WriteFile(filepath.Join(folder, file), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := ownsFolder(folder) == nil; got != tc.want {
				t.Errorf("owned = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestLinksOfRoutes(t *testing.T) {
	routes := "10.234.64.2 dev veth1 scope host \n10.234.64.3 dev veth2 scope host \n10.234.64.4 dev veth1 scope host \nunreachable 10.234.65.0/24 \n"
	if diff := cmp.Diff([]string{"veth1", "veth2"}, linksOfRoutes(routes)); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}

func TestUpstream(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if got := upstream(file); got == file {
		t.Error("a file that does not exist was taken")
	}
	if err := os.WriteFile(file, []byte("search example.com\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := upstream(file); got == file {
		t.Error("a file without a server was taken; CoreDNS refuses to start with it")
	}
	if err := os.WriteFile(file, []byte("nameserver 192.0.2.53\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := upstream(file); got != file {
		t.Errorf("upstream = %s, want %s", got, file)
	}
}

// A cluster in the way is told of, with what to do.
func TestAlone(t *testing.T) {
	self, err := proc.Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	c := Cluster{State: "/state", Bin: "/mine/bin"}
	for name, tc := range map[string]struct {
		owner, bin, want string
	}{
		"nothing":                 {"", "", ""},
		"the own one":             {"/state", "/mine/bin", ""},
		"one in another folder":   {"/other", "", "DEVCLUSTER_DIR=/other hack/devcluster/run down"},
		"one of another checkout": {"/state", "/theirs/bin", "in /theirs/bin, runs on this machine"},
	} {
		err := c.alone(tc.owner, &record{Bin: tc.bin, Boot: "boot", Anchor: self}, "boot")
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: the error is %v, want %q", name, err, tc.want)
		}
	}
}

func TestPortsFree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := portsFree(t.Context(), []int{port}); err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)) {
		t.Errorf("port %d is taken, and the error is %v", port, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := portsFree(t.Context(), []int{port}); err != nil {
		t.Errorf("port %d is free, and the error is %v", port, err)
	}
}
