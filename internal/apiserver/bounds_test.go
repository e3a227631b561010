package apiserver

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

// stuck is a client that reads no chunk until it is let go.
type stuck struct {
	*httptest.ResponseRecorder
	begun chan<- struct{}
	let   <-chan struct{}
	once  sync.Once
}

func (s *stuck) Write(p []byte) (int, error) {
	if s.Header().Get("Content-Type") == wire.Content {
		s.once.Do(func() { s.begun <- struct{}{} })
		<-s.let
	}
	return s.ResponseRecorder.Write(p)
}

// Many pods that restore at once make the server hold no more than its room has: for
// chunks and for logs alike. The others are told to wait.
func TestAnswersShareTheRoomOfBodies(t *testing.T) {
	const held, clients = 64 << 20, 40
	r := &room{bytes: semaphore.NewWeighted(held), patience: 10 * time.Millisecond}
	store, err := record.OpenWith(t.Context(), "mem://", record.Options{Room: r.bytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	lazy := newLazyStore(nil, clock.RealClock{})
	lazy.set(store, nil)
	who := record.Writer{Attempt: 1, PodUID: "pod"}
	h := newRunners(records{store: lazy}, r, func(context.Context, *http.Request, place) (*runner, error) {
		return &runner{writer: who, info: record.Info{Name: "fix"}}, nil
	}).handler()
	chunk := make([]byte, record.MaxChunk)
	if _, err := rand.Read(chunk); err != nil {
		t.Fatal(err)
	}
	digest := record.DigestOf(chunk)
	if err := store.Recorder(record.Task{Namespace: "a", UID: taskUID}, who).PutChunk(t.Context(), digest, chunk); err != nil {
		t.Fatal(err)
	}
	begun, let := make(chan struct{}, clients), make(chan struct{})
	answers := make(chan int, clients)
	for i := range clients {
		// Tasks have bounds of their own, so each is another one.
		path := wire.TaskPath("a", "fix", fmt.Sprintf("%s%02d", taskUID[:34], i)) + wire.ChunkPath(digest)
		go func() {
			w := &stuck{ResponseRecorder: httptest.NewRecorder(), begun: begun, let: let}
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			answers <- w.Code
		}()
	}
	// Those that hold a chunk are stuck, and all others are answered.
	const most = held / heldChunk
	stuckNow, refused := 0, 0
	hangs := time.After(2 * time.Minute)
	for stuckNow+refused < clients {
		select {
		case <-begun:
			stuckNow++
		case code := <-answers:
			if code != http.StatusServiceUnavailable {
				t.Fatalf("answered with %d", code)
			}
			refused++
		case <-hangs:
			t.Fatal("some are neither answered nor sent a chunk")
		}
	}
	if stuckNow != most {
		t.Errorf("%d chunks are held at once, want %d", stuckNow, most)
	}
	if r.bytes.TryAcquire(1) {
		t.Error("chunks that are being sent take no room")
	}
	close(let)
	for range stuckNow {
		if code := <-answers; code != http.StatusOK {
			t.Errorf("a chunk is answered with %d", code)
		}
	}
	if !r.bytes.TryAcquire(held) {
		t.Error("what was sent keeps its room")
	}
}

// Who is not known yet takes nothing from those who are: requests of one address that
// wait for the API server's word leave those of another alone, and so does a task that
// asks for too much at once.
func TestNobodyTakesAllPlaces(t *testing.T) {
	lazy := newLazyStore(nil, clock.RealClock{})
	lazy.set(nil, errors.New("this is after who asks is known"))
	asked, word := make(chan struct{}, 2*maxUnknown), make(chan struct{})
	d := newRunners(records{store: lazy}, newRoom(), func(_ context.Context, req *http.Request, _ place) (*runner, error) {
		if strings.HasPrefix(req.RemoteAddr, "10.0.0.1:") {
			asked <- struct{}{}
			<-word
		}
		return &runner{}, nil
	})
	h := d.handler()
	get := func(from, uid string) string {
		req := httptest.NewRequest(http.MethodGet, wire.TaskPath("a", "fix", uid)+wire.Outputs, nil)
		req.RemoteAddr = from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w.Body.String()
	}
	var all sync.WaitGroup
	for i := range maxUnknown {
		all.Go(func() { get(fmt.Sprintf("10.0.0.1:%d", 1000+i), taskUID) })
		<-asked
	}
	if got := get("10.0.0.1:99", taskUID); !strings.Contains(got, "not known yet who makes them") {
		t.Errorf("one more of that address: %s", got)
	}
	if got := get("10.0.0.2:99", taskUID); !strings.Contains(got, "after who asks is known") {
		t.Errorf("another address: %s", got)
	}
	close(word)
	all.Wait()
	if got := get("10.0.0.1:99", taskUID); !strings.Contains(got, "after who asks is known") {
		t.Errorf("that address, later: %s", got)
	}

	for range maxPerTask {
		d.tasks.take(taskUID)
	}
	if got := get("10.0.0.2:99", taskUID); !strings.Contains(got, "requests of this task") {
		t.Errorf("one more of that task: %s", got)
	}
	if got := get("10.0.0.2:99", "other"); !strings.Contains(got, "after who asks is known") {
		t.Errorf("another task: %s", got)
	}
}

// What one address opens beyond its share is closed, and its share is its again when it
// closes something.
func TestConnectionsOfOneAddress(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
		ReadHeaderTimeout: time.Minute,
	}
	served := make(chan error, 1)
	go func() { served <- hs.Serve(&sources{Listener: l, quota: newQuota(2)}) }()
	t.Cleanup(func() {
		_ = hs.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	ask := func() (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		_, err = bufio.NewReader(c).ReadString('\n')
		return c, err
	}
	first, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(); err == nil {
		t.Error("a third connection is served")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err = ask(); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no other connection is served after one was closed: %v", err)
		}
	}
}

// A user has a share of what is answered at once, and takes nothing of another's.
func TestAnswersOfOneUser(t *testing.T) {
	f := &forwarder{
		record:   &RecordServer{Client: fake.NewClientBuilder().Build(), Clock: clock.RealClock{}, Namespace: "x", ConfigMap: "y"},
		clock:    clock.RealClock{},
		users:    newQuota(maxPerUser),
		stopping: t.Context(),
	}
	s := &subresource{forwarder: f, name: transcripts}
	for range maxPerUser {
		f.users.take("ann")
	}
	read := func(who string) error {
		ctx := request.WithUser(t.Context(), &user.DefaultInfo{Name: who})
		ctx = request.WithRequestInfo(ctx, &request.RequestInfo{Namespace: "a", Parts: []string{"agenttasks", "fix", transcripts}})
		return s.answer(ctx, "fix", httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), nil)
	}
	if err := read("ann"); !apierrors.IsTooManyRequests(err) {
		t.Errorf("one more is answered: %v", err)
	}
	if err := read("bob"); !errors.Is(err, record.ErrUnavailable) { // there is no server of the record here
		t.Errorf("another user: %v", err)
	}
	f.users.giveBack("ann")
	if err := read("ann"); !errors.Is(err, record.ErrUnavailable) {
		t.Errorf("after one has ended: %v", err)
	}
}
