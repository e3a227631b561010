package record

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	_ "gocloud.dev/blob/s3blob"
)

// place is somewhere that stores can be: each bucket that it gives has the same objects.
type place struct {
	bucket func(t *testing.T) *blob.Bucket
}

func (p place) store(t *testing.T) *Store { return p.storeWith(t, Options{}) }

func (p place) storeWith(t *testing.T, o Options) *Store {
	if o.Poll == 0 {
		o.Poll, o.MaxPoll = time.Millisecond, 10*time.Millisecond
	}
	return New(p.bucket(t), o)
}

func openPlace(t *testing.T, location string) *blob.Bucket {
	t.Helper()
	b, err := openBucket(context.Background(), location)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func inFolder(t *testing.T) place {
	dir := t.TempDir()
	return place{bucket: func(t *testing.T) *blob.Bucket { return openPlace(t, "file://"+dir) }}
}

func inMemory(t *testing.T) place {
	b := memblob.OpenBucket(nil)
	t.Cleanup(func() { _ = b.Close() })
	return place{bucket: func(*testing.T) *blob.Bucket { return b }}
}

func inS3(t *testing.T) place {
	backend := s3mem.New()
	if err := backend.CreateBucket("records"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "any")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "any")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	location := "s3://records?region=us-east-1&use_path_style=true&endpoint=" + srv.URL
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return place{bucket: func(t *testing.T) *blob.Bucket { return openPlace(t, location) }}
}

// places are all kinds of places.
var places = map[string]func(*testing.T) place{"folder": inFolder, "memory": inMemory, "s3": inS3}

func everywhere(t *testing.T, test func(t *testing.T, p place)) {
	for name, make := range places {
		t.Run(name, func(t *testing.T) { test(t, make(t)) })
	}
}
