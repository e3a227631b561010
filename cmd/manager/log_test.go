package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/sampan-dev/sampan/internal/text"
)

// What a user wrote steers no terminal that shows the log, and JSON stays exact.
func TestLogIsSafe(t *testing.T) {
	const hostile = "\x1b]0;x\x07\x1b[2J\u009b2J\x7f\u202e\u200b\u2028\nforged"
	for _, development := range []bool{false, true} {
		var b strings.Builder
		log := logger(&b, &zap.Options{Development: development})
		log.Info("Said "+hostile, "key", hostile)
		log.Error(errors.New(hostile), "Failed")
		if text.Visible(b.String()) != b.String() {
			t.Errorf("development %v: the log is %q", development, b.String())
		}
		if development {
			continue
		}
		line, _, _ := strings.Cut(b.String(), "\n")
		var entry struct{ Msg, Key string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Key != hostile || entry.Msg != "Said "+hostile {
			t.Errorf("%s is read as %+v, %v", line, entry, err)
		}
	}
}
