package inpod

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/podapi"
)

func TestLeaveError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "termination-log")
	if err := leaveError(path, errors.New("x")); err == nil {
		t.Error("no file to write to is no error")
	}
	for before, left := range map[string]bool{"": true, `{"taskUID":"u"}`: false} {
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := leaveError(path, errors.New("models.yaml:\x1b[2J\n"+strings.Repeat("x", 9000))); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !left {
			if string(data) != before {
				t.Errorf("the result is gone: %s", data)
			}
			continue
		}
		var got podapi.TerminationMessage
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(got.Error, "models.yaml:") || strings.ContainsAny(got.Error, "\x1b\n") || len(data) > podapi.MaxTerminationMessageBytes {
			t.Errorf("%d bytes: %q", len(data), got.Error)
		}
	}
}
