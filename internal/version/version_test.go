package version

import (
	"runtime/debug"
	"testing"
)

func TestWhatIsKnownBestIsSaid(t *testing.T) {
	commit := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "0a1b2c"}, {Key: "vcs.modified", Value: "false"}}
	dirty := []debug.BuildSetting{{Key: "vcs.revision", Value: "0a1b2c"}, {Key: "vcs.modified", Value: "true"}}
	for name, c := range map[string]struct {
		linked string
		info   debug.BuildInfo
		want   string
	}{
		"linked":        {"v1.2.3", debug.BuildInfo{Main: debug.Module{Version: "v1.0.0"}, Settings: commit}, "v1.2.3"},
		"by go install": {"", debug.BuildInfo{Main: debug.Module{Version: "v1.0.0"}, Settings: commit}, "v1.0.0"},
		"in a checkout": {"", debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: commit}, "0a1b2c"},
		"with changes":  {"", debug.BuildInfo{Settings: dirty}, "0a1b2c-dirty"},
		"nothing":       {"", debug.BuildInfo{}, "dev"},
	} {
		if got := of(c.linked, &c.info); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
