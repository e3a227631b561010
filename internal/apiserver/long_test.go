package apiserver

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

// hashing is a client that keeps nothing of what it reads, and looks at the memory in
// use now and then.
type hashing struct {
	deadlined
	sum  hash.Hash
	read int64
	most uint64
}

func (h *hashing) Write(p []byte) (int, error) {
	const every = 16 << 20
	if h.read/every != (h.read+int64(len(p)))/every {
		h.most = max(h.most, inUse())
	}
	h.read += int64(len(p))
	return h.sum.Write(p)
}

// inUse is what is left of the heap after a collection.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A transcript of 200 MB reads back whole, to people and to the pod that goes on with
// it, and the server holds a part of it at a time.
func TestALongTranscriptReadsBackWhole(t *testing.T) {
	const appends, perAppend, lineBytes, bound = 50, 64, 64 << 10, 64 << 20
	r := newRoom()
	store, err := record.OpenWith(t.Context(), "file://"+t.TempDir(), record.Options{Room: r.bytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	p, h := doorsOver(t, store, r, oneTask{})
	written, size := sha256.New(), int64(0)
	filler := bytes.Repeat([]byte("all of this was printed. "), lineBytes/25)
	var lines bytes.Buffer
	for i := range appends {
		lines.Reset()
		for j := range perAppend {
			_, _ = fmt.Fprintf(&lines, `{"seq":%d,"turn":%d,"type":"tool_result","data":{"content":"%s"}}`+"\n", i*perAppend+j+1, i, filler)
		}
		write(t, h, i*perAppend+1, lines.String())
		_, _ = written.Write(lines.Bytes())
		size += int64(lines.Len())
	}
	if size < 200e6 {
		t.Fatalf("it has %d bytes only", size)
	}
	lines = bytes.Buffer{}
	before := inUse()
	check := func(who string, out *hashing, err error) {
		t.Helper()
		if err != nil || out.read != size || !bytes.Equal(out.sum.Sum(nil), written.Sum(nil)) {
			t.Errorf("%s read %d of %d bytes, or others: %v", who, out.read, size, err)
		}
		if out.most > before+bound {
			t.Errorf("%d MB are in use while %s read it", (out.most-before)>>20, who)
		}
	}
	newHashing := func() *hashing { return &hashing{deadlined: deadlined{httptest.NewRecorder()}, sum: sha256.New()} }

	out := newHashing()
	err = p.readTranscript(request.WithNamespace(t.Context(), "a"), "fix", out, httptest.NewRequest(http.MethodGet, "/x", nil))
	check("people", out, err)
	out = newHashing()
	h.ServeHTTP(out, httptest.NewRequest(http.MethodGet, wire.TaskPath("a", "fix", taskUID)+"/log?from=1", nil))
	check("a pod", out, nil)
	if !r.bytes.TryAcquire(maxHeld) {
		t.Error("what was read keeps its room")
	}
}
