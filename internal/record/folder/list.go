package folder

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"gocloud.dev/blob/driver"
)

const defaultPage = 1000

// page collects one page of a listing. Keys come to it in their order.
type page struct {
	b    *bucket
	opts *driver.ListOptions
	size int
	objs []*driver.ListObject
	full bool
}

// ListPaged implements driver.Bucket. The token of a page is the last key of the one
// before it.
func (b *bucket) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	if opts.BeforeList != nil {
		if err := opts.BeforeList(func(any) bool { return false }); err != nil {
			return nil, err
		}
	}
	p := &page{b: b, opts: opts, size: opts.PageSize}
	if p.size == 0 {
		p.size = defaultPage
	}
	start := "."
	if i := strings.LastIndexByte(opts.Prefix, '/'); i > 0 {
		start = opts.Prefix[:i]
	}
	if start != "." && !fs.ValidPath(start) {
		return &driver.ListPage{}, nil
	}
	if err := p.walk(ctx, start); err != nil {
		return nil, err
	}
	res := &driver.ListPage{Objects: p.objs}
	if p.full {
		res.NextPageToken = []byte(p.objs[len(p.objs)-1].Key)
	}
	return res, nil
}

// walk adds what is below a folder. One that is none, or is removed meanwhile, has nothing.
func (p *page) walk(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := fs.ReadDir(p.b.root.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	keys := make([]entry, 0, len(entries))
	for _, e := range entries {
		if key := path.Join(dir, e.Name()); key != temporary {
			keys = append(keys, newEntry(key, e))
		}
	}
	// The order of keys is not that of names: "a-b/" comes before "a/".
	slices.SortFunc(keys, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	for _, e := range keys {
		if err := p.add(ctx, e); err != nil || p.full {
			return err
		}
	}
	return nil
}

// entry is a file, or a folder, whose key ends in a slash.
type entry struct {
	key string
	fs.DirEntry
}

func newEntry(key string, e fs.DirEntry) entry {
	if e.IsDir() {
		key += "/"
	}
	return entry{key: key, DirEntry: e}
}

func (p *page) add(ctx context.Context, e entry) error {
	token := string(p.opts.PageToken)
	if e.IsDir() {
		within := strings.HasPrefix(e.key, p.opts.Prefix)
		if !within && !strings.HasPrefix(p.opts.Prefix, e.key) {
			return nil
		}
		if e.key <= token && !strings.HasPrefix(token, e.key) {
			return nil // all below it was in an earlier page
		}
		if !within || p.opts.Delimiter == "" {
			return p.walk(ctx, strings.TrimSuffix(e.key, "/"))
		}
	}
	if !strings.HasPrefix(e.key, p.opts.Prefix) || e.key <= token {
		return nil
	}
	return p.emit(e)
}

func (p *page) emit(e entry) error {
	obj := &driver.ListObject{Key: e.key, IsDir: e.IsDir(), AsFunc: func(any) bool { return false }}
	if !obj.IsDir {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		obj.ModTime, obj.Size = info.ModTime(), info.Size()
	}
	if len(p.objs) == p.size {
		p.full = true
		return nil
	}
	p.objs = append(p.objs, obj)
	return nil
}
