package record

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// wrapped is a bucket whose operations a test sees, and may let fail: before they are
// carried out or afterwards, when their answer is lost.
type wrapped struct {
	driver.Bucket
	b             *blob.Bucket
	before, after func(op, key string) error
}

// wrap gives a bucket with the objects of another.
func wrap(t *testing.T, b *blob.Bucket, before, after func(op, key string) error) *blob.Bucket {
	nothing := func(string, string) error { return nil }
	if before == nil {
		before = nothing
	}
	if after == nil {
		after = nothing
	}
	w := blob.NewBucket(&wrapped{b: b, before: before, after: after})
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func (w *wrapped) do(op, key string, f func() error) error {
	if err := w.before(op, key); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return w.after(op, key)
}

func (w *wrapped) Close() error                           { return nil }
func (w *wrapped) As(any) bool                            { return false }
func (w *wrapped) ErrorAs(err error, i any) bool          { return errors.As(err, i) }
func (w *wrapped) ErrorCode(err error) gcerrors.ErrorCode { return gcerrors.Code(err) }

func (w *wrapped) Attributes(ctx context.Context, key string) (res *driver.Attributes, err error) {
	err = w.do("look", key, func() error {
		a, err := w.b.Attributes(ctx, key)
		if err == nil {
			res = &driver.Attributes{ModTime: a.ModTime, Size: a.Size, AsFunc: func(any) bool { return false }}
		}
		return err
	})
	return res, err
}

func (w *wrapped) ListPaged(ctx context.Context, o *driver.ListOptions) (res *driver.ListPage, err error) {
	token := o.PageToken
	if len(token) == 0 {
		token = blob.FirstPageToken
	}
	err = w.do("list", o.Prefix, func() error {
		objs, next, err := w.b.ListPage(ctx, token, o.PageSize, &blob.ListOptions{Prefix: o.Prefix, Delimiter: o.Delimiter})
		res = &driver.ListPage{NextPageToken: next}
		for _, obj := range objs {
			res.Objects = append(res.Objects, &driver.ListObject{Key: obj.Key, ModTime: obj.ModTime, Size: obj.Size, IsDir: obj.IsDir})
		}
		return err
	})
	return res, err
}

type wrappedReader struct{ *blob.Reader }

func (r wrappedReader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{ModTime: r.ModTime(), Size: r.Size()}
}
func (r wrappedReader) As(any) bool { return false }

func (w *wrapped) NewRangeReader(ctx context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (res driver.Reader, err error) {
	err = w.do("read", key, func() error {
		r, err := w.b.NewRangeReader(ctx, key, offset, length, nil)
		res = wrappedReader{r}
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

type wrappedWriter struct {
	bytes.Buffer
	close func([]byte) error
}

func (w *wrappedWriter) Close() error { return w.close(w.Bytes()) }

func (w *wrapped) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	return &wrappedWriter{close: func(data []byte) error {
		return w.do("write", key, func() error {
			return w.b.WriteAll(ctx, key, data, &blob.WriterOptions{IfNotExist: o.IfNotExist, ContentType: contentType})
		})
	}}, nil
}

func (w *wrapped) Delete(ctx context.Context, key string, _ *driver.DeleteOptions) error {
	return w.do("delete", key, func() error { return w.b.Delete(ctx, key) })
}
