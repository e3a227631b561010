package modelregistry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/controller/slim"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// stubs reads as a manager's cache does: of what is large it has a stub.
type stubs struct{ client.Reader }

func (s stubs) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if err := s.Reader.Get(ctx, key, obj, opts...); err != nil {
		return err
	}
	kept, err := slim.Transform(obj.DeepCopyObject())
	if err != nil {
		return err
	}
	kept.(*corev1.ConfigMap).DeepCopyInto(obj.(*corev1.ConfigMap))
	return nil
}

// counted counts reads, and holds those of the namespace "slow".
type counted struct {
	client.Reader
	reads map[string]int
	held  chan struct{}
}

func (c *counted) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if key.Namespace == "slow" {
		c.held <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	c.reads[key.Namespace]++
	return c.Reader.Get(ctx, key, obj, opts...)
}

// padded is a registry of so many bytes.
func padded(n int) string {
	return objects.RegistryDocument + "#" + strings.Repeat("x", n-len(objects.RegistryDocument)-1)
}

func newTenants(objs ...client.Object) (*modelregistry.Store, *counted, client.Client) {
	s, c, _ := newStore(objs...)
	live := &counted{Reader: c, reads: map[string]int{}, held: make(chan struct{})}
	s.Reader, s.Live = stubs{c}, live
	return s, live, c
}

func TestALargeRegistryIsReadOncePerVersion(t *testing.T) {
	s, live, c := newTenants(objects.MakeRegistry("ns", padded(64<<10)))
	for range 3 {
		if e := load(t, s); e.Document != padded(64<<10) {
			t.Errorf("the document has %d bytes", len(e.Document))
		}
	}
	edit(t, c, "ns", padded(32<<10))
	for range 3 {
		if e := load(t, s); len(e.Document) != 32<<10 {
			t.Errorf("the document has %d bytes after the edit", len(e.Document))
		}
	}
	if live.reads["ns"] != 2 {
		t.Errorf("read %d times, want once for each version", live.reads["ns"])
	}
}

// TestNoNamespaceWaitsForAnother: while one namespace's registry is being read, for
// however long, others get theirs.
func TestNoNamespaceWaitsForAnother(t *testing.T) {
	s, live, _ := newTenants(objects.MakeRegistry("slow", padded(64<<10)), objects.MakeRegistry("ns", padded(64<<10)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.Load(ctx, "slow")
		ended <- err
	}()
	<-live.held
	got := make(chan error, 1)
	go func() {
		_, err := s.Load(t.Context(), "ns")
		got <- err
	}()
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("a namespace waits for another one's registry")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// TestWhatIsKeptIsBounded: the large are read again, the others keep theirs.
func TestWhatIsKeptIsBounded(t *testing.T) {
	objs := []client.Object{objects.MakeRegistry("op", padded(200<<10)), objects.MakeRegistry("ns", padded(9<<10))}
	for i := range 8 {
		objs = append(objs, objects.MakeRegistry(fmt.Sprintf("large-%d", i), padded(64<<10)))
	}
	s, live, _ := newTenants(objs...)
	s.MaxBytes = 3 << 20 // the operator's, the small one and two large ones
	loadAll := func() {
		for _, ns := range []string{"nobody", "ns"} {
			if _, err := s.Load(t.Context(), ns); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 8 {
			if _, err := s.Load(t.Context(), fmt.Sprintf("large-%d", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	loadAll()
	loadAll()
	if live.reads["op"] != 1 || live.reads["ns"] != 1 {
		t.Errorf("the operator's was read %d times, the small one %d times: the large have displaced them", live.reads["op"], live.reads["ns"])
	}
	again := 0
	for i := range 8 {
		again += live.reads[fmt.Sprintf("large-%d", i)] - 1
	}
	if again < 5 {
		t.Errorf("%d of 8 were read again: more is kept than the bound", again)
	}
}

// TestWhatIsGoneIsForgotten: a ConfigMap that comes back later is another one, and
// what was kept of the first is not.
func TestWhatIsGoneIsForgotten(t *testing.T) {
	for name, forget := range map[string]func(*modelregistry.Store){
		"by the watch": func(s *modelregistry.Store) { s.Forget(t.Context(), "ns") },
		"by a load":    func(s *modelregistry.Store) { _, _ = s.Load(t.Context(), "ns") },
	} {
		t.Run(name, func(t *testing.T) {
			s, live, c := newTenants(objects.MakeRegistry("ns", padded(64<<10)))
			load(t, s)
			s.Forget(t.Context(), "ns") // it is there
			load(t, s)
			if live.reads["ns"] != 1 {
				t.Errorf("a registry that is there was forgotten")
			}
			if err := c.Delete(t.Context(), objects.MakeRegistry("ns", "")); err != nil {
				t.Fatal(err)
			}
			forget(s)
			again := objects.MakeRegistry("ns", "models: [")
			if err := c.Create(t.Context(), again); err != nil {
				t.Fatal(err)
			}
			var invalid *models.InvalidError
			if _, err := s.Load(t.Context(), "ns"); !errors.As(err, &invalid) {
				t.Errorf("error is %v; the registry of a ConfigMap that is gone must not hold", err)
			}
		})
	}
}

// TestAnEventIsNoLongerThanTheAPITakes: one with 20 long problems is.
func TestAnEventIsNoLongerThanTheAPITakes(t *testing.T) {
	s, _, recorder := newStore(objects.MakeRegistry("ns", manyFields(30)))
	if _, err := s.Load(t.Context(), "ns"); err == nil {
		t.Fatal("no error")
	}
	if e := <-recorder.Events; len(e) > 1024+len("Warning RegistryInvalid ") {
		t.Errorf("the event has %d bytes", len(e))
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "field-%d-%s: 1\n", i, strings.Repeat("x", 60))
	}
	return b.String()
}
