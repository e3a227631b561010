package record

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// objects are the objects of a bucket, each with a seal: a line of the form
// "sampan-record/1 HEX", where HEX is the SHA-256 of the object's key, a NUL and what
// comes after the line. A byte that is not what was written, and an object that is
// not where it was written, are found before anything of it is used.
type objects struct {
	b *blob.Bucket
	// timeout bounds one operation on one object.
	timeout time.Duration
}

const (
	sealMagic = "sampan-record/1 "
	sealSize  = len(sealMagic) + 2*sha256.Size + 1
	// maxDocument bounds an object in JSON.
	maxDocument = 16 << 20
	octets      = "application/octet-stream"
)

func seal(key string, payload []byte) (object []byte, sum string) {
	h := sha256.New()
	h.Write([]byte(key))
	h.Write([]byte{0})
	h.Write(payload)
	sum = hex.EncodeToString(h.Sum(nil))
	object = make([]byte, 0, sealSize+len(payload))
	object = append(object, sealMagic...)
	object = append(object, sum...)
	object = append(object, '\n')
	return append(object, payload...), sum
}

func unseal(key string, object []byte) (payload []byte, sum string, err error) {
	if len(object) < sealSize {
		return nil, "", &CorruptError{Object: key, Reason: fmt.Sprintf("it has %d bytes, fewer than its seal", len(object))}
	}
	payload = object[sealSize:]
	want, sum := seal(key, payload)
	if !bytes.Equal(object[:sealSize], want[:sealSize]) {
		return nil, "", &CorruptError{Object: key, Reason: "its content has not the digest it was written with"}
	}
	return payload, sum, nil
}

// get reads an object whose payload has at most limit bytes.
func (o *objects) get(ctx context.Context, key string, limit int) (payload []byte, sum string, err error) {
	return o.getHeld(ctx, key, limit, &held{})
}

// getHeld is get for a reader that holds the object: errCrowded where it has no room.
func (o *objects) getHeld(ctx context.Context, key string, limit int, h *held) (payload []byte, sum string, err error) {
	object, err := o.read(ctx, key, int64(limit+sealSize), h)
	if err != nil {
		return nil, "", err
	}
	return unseal(key, object)
}

func (o *objects) read(ctx context.Context, key string, limit int64, h *held) ([]byte, error) {
	opCtx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	r, err := o.b.NewReader(opCtx, key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, failed(ctx, "reading", key, err)
	}
	defer func() { _ = r.Close() }() // it has been read
	if r.Size() > limit {
		return nil, &CorruptError{Object: key, Reason: fmt.Sprintf("it has %d bytes, more than the %d that are written at most", r.Size(), limit)}
	}
	if !h.atLeast(r.Size()) {
		return nil, errCrowded
	}
	object := make([]byte, r.Size())
	if _, err := io.ReadFull(r, object); err != nil {
		return nil, failed(ctx, "reading", key, err)
	}
	return object, nil
}

// create writes an object that is not there yet, and says whether it was so.
func (o *objects) create(ctx context.Context, key string, payload []byte) (created bool, sum string, err error) {
	object, sum := seal(key, payload)
	err = o.write(ctx, key, object, true)
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		return false, sum, nil
	}
	if err != nil {
		return false, "", failed(ctx, "writing", key, err)
	}
	return true, sum, nil
}

// put writes an object, in place of one that may be there.
func (o *objects) put(ctx context.Context, key string, payload []byte) error {
	object, _ := seal(key, payload)
	if err := o.write(ctx, key, object, false); err != nil {
		return failed(ctx, "writing", key, err)
	}
	return nil
}

func (o *objects) write(ctx context.Context, key string, object []byte, create bool) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	w, err := o.b.NewWriter(ctx, key, &blob.WriterOptions{
		ContentType: octets,
		IfNotExist:  create,
		// One request, whatever the size: the parts of an object could be left behind.
		BufferSize: len(object) + 1,
	})
	if err != nil {
		return err
	}
	if _, err := w.Write(object); err != nil {
		cancel() // so that nothing half-written becomes an object
		return errors.Join(err, w.Close())
	}
	return w.Close()
}

// modified gives the time that an object was last written, ErrNotFound without one.
func (o *objects) modified(ctx context.Context, key string) (time.Time, error) {
	opCtx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	a, err := o.b.Attributes(opCtx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return time.Time{}, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	if err != nil {
		return time.Time{}, failed(ctx, "looking for", key, err)
	}
	return a.ModTime, nil
}

func (o *objects) exists(ctx context.Context, key string) (bool, error) {
	_, err := o.modified(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// remove removes an object. One that is not there is removed already.
func (o *objects) remove(ctx context.Context, key string) error {
	opCtx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := o.b.Delete(opCtx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return failed(ctx, "removing", key, err)
	}
	return nil
}

// list calls f with the objects whose keys have a prefix, in the order of the keys, a
// page at a time. With a delimiter it gives the next parts of the keys only.
func (o *objects) list(ctx context.Context, prefix, delimiter string, f func(*blob.ListObject) error) error {
	opts := &blob.ListOptions{Prefix: prefix, Delimiter: delimiter}
	for token := blob.FirstPageToken; len(token) > 0; {
		var page []*blob.ListObject
		var err error
		page, token, err = o.page(ctx, token, opts)
		if err != nil {
			return failed(ctx, "listing", prefix, err)
		}
		for _, obj := range page {
			if err := f(obj); err != nil {
				return err
			}
		}
	}
	return nil
}

const pageSize = 1000

func (o *objects) page(ctx context.Context, token []byte, opts *blob.ListOptions) ([]*blob.ListObject, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return o.b.ListPage(ctx, token, pageSize, opts)
}

// last gives the number of the last key with a prefix that is at most limit, 0 without one.
func (o *objects) last(ctx context.Context, prefix string, limit int64) (int64, bool, error) {
	var last int64
	var found bool
	err := o.list(ctx, prefix, "", func(obj *blob.ListObject) error {
		n, err := lastNumber(obj.Key)
		if err == nil && n <= limit {
			last, found = n, true
		}
		return err
	})
	return last, found, err
}

// getJSON reads an object in JSON.
func (o *objects) getJSON(ctx context.Context, key string, v any) error {
	payload, _, err := o.get(ctx, key, maxDocument)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(payload, v); err != nil {
		return &CorruptError{Object: key, Reason: err.Error()}
	}
	return nil
}

func marshal(what string, v any) ([]byte, error) {
	payload, err := json.Marshal(v)
	if err == nil && len(payload) > maxDocument {
		err = fmt.Errorf("it has %d bytes, more than %d", len(payload), maxDocument)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be recorded: %w", what, err)
	}
	return payload, nil
}

// failed is an operation that the store did not carry out. Where the caller has given
// up, that is no fault of the store's.
func failed(ctx context.Context, doing, key string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s %s: %w", doing, key, ctx.Err())
	}
	return fmt.Errorf("%w: %s %s: %w", ErrUnavailable, doing, key, err)
}

// lost is the error of reading an object that has to be there.
func lost(key string, err error) error {
	if errors.Is(err, ErrNotFound) {
		return &CorruptError{Object: key, Reason: "it is missing, and others build on it"}
	}
	return err
}
