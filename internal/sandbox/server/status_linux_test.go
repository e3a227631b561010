package server_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

func TestStatus(t *testing.T) {
	c := run(t, filepath.Join(t.TempDir(), "s"))
	before, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before.Protocol != api.Protocol || before.CapacityBytes <= 0 || before.AvailableBytes <= 0 || before.AvailableBytes > before.CapacityBytes || before.Usage != nil {
		t.Errorf("at first: %+v", before)
	}
	// A request that only looks is no use of it.
	later, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if later.WarmSeconds <= before.WarmSeconds || later.WarmSeconds != later.UptimeSeconds || !later.LastActivity.Equal(before.LastActivity) {
		t.Errorf("unused: %+v", later)
	}
	if _, err := c.Exec(t.Context(), toolShell("mkdir -p d/e; head -c 300000 /dev/zero > d/e/f; sync d/e/f; ln -s / d/link")); err != nil {
		t.Fatal(err)
	}
	used, err := c.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if used.WarmSeconds >= used.UptimeSeconds || used.WarmSeconds < later.WarmSeconds || time.Since(used.LastActivity) > time.Minute || !used.LastActivity.After(later.LastActivity) {
		t.Errorf("used: %+v", used)
	}
	if used.Usage == nil || used.Usage.Entries != 4 || used.Usage.Bytes < 300000 || used.Usage.Bytes > 10e6 || used.Usage.Incomplete {
		t.Errorf("usage: %+v", used.Usage)
	}
}
