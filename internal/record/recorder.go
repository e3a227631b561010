package record

import (
	"context"
	"io"
)

// recorder implements Recorder.
type recorder struct {
	s *Store
	t Task
	w Writer
	// last: only the last checkpoint is kept.
	last bool
}

// Recorder gives the record of a task to one who writes it. A task or writer that is
// none is refused by each call.
func (s *Store) Recorder(t Task, w Writer) Recorder { return &recorder{s: s, t: t, w: w} }

func (r *recorder) check() error {
	if err := r.t.Check(); err != nil {
		return err
	}
	return r.w.check()
}

// Log implements Recorder.
func (r *recorder) Log(ctx context.Context, from int64) (io.ReadCloser, error) {
	return r.s.Log(ctx, r.t, from)
}

// Outputs implements Recorder.
func (r *recorder) Outputs(ctx context.Context) ([]Output, error) { return r.s.Outputs(ctx, r.t) }

// lead is what a writer knows when it begins to keep a checkpoint or an output.
type lead struct {
	term int64
	// last is the last event of the log.
	last int64
	// named are the chunks that its checkpoint before names, if that is known.
	named map[Digest]struct{}
}

// leads fails unless the log's last segment is the writer's own: with errNoEvent, and the
// term alone, where the writer has the record and no event yet.
func (r *recorder) leads(ctx context.Context) (lead, error) {
	st, unlock, err := r.s.remembered(ctx, r.t)
	if err != nil {
		return lead{}, err
	}
	defer unlock()
	term, err := r.term(ctx, st, true)
	if err != nil {
		return lead{}, err
	}
	if err := r.s.refresh(ctx, r.t, st); err != nil {
		return lead{}, err
	}
	switch h := st.head; {
	case h.term > term:
		return lead{}, r.fenced(h.writer)
	case h.term < term:
		return lead{term: term}, errNoEvent
	}
	l := lead{term: term, last: st.head.last}
	if st.namedBy == r.w {
		l.named = st.named
	}
	return l, nil
}

// maxRemembered bounds the chunks remembered of a task.
const maxRemembered = 1 << 14

// remember keeps which chunks the writer's last checkpoint names.
func (r *recorder) remember(ctx context.Context, named map[Digest]struct{}) error {
	if len(named) > maxRemembered {
		named = nil
	}
	st, unlock, err := r.s.remembered(ctx, r.t)
	if err != nil {
		return err
	}
	defer unlock()
	st.named, st.namedBy = named, r.w
	return nil
}

// stillLeads fails when another has claimed the record since the writer did. What the
// writer has kept meanwhile is of no consequence then, see claim.
func (r *recorder) stillLeads(ctx context.Context, term int64) error {
	var c claim
	found, err := r.s.exists(ctx, r.t.claimKey(term+1))
	if !found || err != nil {
		return err
	}
	if err := r.s.getJSON(ctx, r.t.claimKey(term+1), &c); err != nil {
		return err
	}
	return r.fenced(c.Writer)
}
