package tunnel

import (
	"io"
	"net/http"
	"testing"
)

// TestTrailersCome: what is said at the end of an answer comes, too.
func TestTrailersCome(t *testing.T) {
	h := newHouse(t, 10)
	h.call(t, "box", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Sampan-Digest")
		_, _ = io.WriteString(w, "x")
		w.Header().Set("Sampan-Digest", "whole")
	}), nil)
	eventually(t, "the connection", func() bool { return h.Count() == 1 })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sandbox/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.To(box).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	if _, err := io.ReadAll(resp.Body); err != nil || resp.Trailer.Get("Sampan-Digest") != "whole" {
		t.Errorf("the trailers are %v, %v", resp.Trailer, err)
	}
}
