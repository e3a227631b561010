package models

import "testing"

func TestRoom(t *testing.T) {
	tests := map[string]struct {
		window, maxOutput int
		room, most        int64
	}{
		"a reply's need is kept free":  {32768, 4096, 28672, 22937},
		"at most a quarter":            {32768, 16384, 24576, 19660},
		"a need that is not known":     {4000, 0, 3000, 2400},
		"a window that is barely used": {1000000, 8192, 991808, 793446},
	}
	for name, tt := range tests {
		if got := Room(tt.window, tt.maxOutput); got != tt.room {
			t.Errorf("%s: room for %d tokens, want %d", name, got, tt.room)
		}
		if Compacts(tt.most, tt.window, tt.maxOutput) || !Compacts(tt.most+1, tt.window, tt.maxOutput) {
			t.Errorf("%s: it is not from %d tokens on that a conversation is compacted", name, tt.most+1)
		}
	}
	if Compacts(1<<40, 0, 0) {
		t.Error("a window that is not known is filled")
	}
}
