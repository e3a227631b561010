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
}

// Recorder gives the record of a task to one who writes it. A task or writer that is
// none is refused by each call.
func (s *Store) Recorder(t Task, w Writer) Recorder { return &recorder{s: s, t: t, w: w} }

func (r *recorder) check() error {
	if err := r.t.check(); err != nil {
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

// leads says under which term the writer may keep a checkpoint or an output, and the
// last event of the log: the log's last segment has to be the writer's own.
func (r *recorder) leads(ctx context.Context) (term, last int64, err error) {
	st, unlock, err := r.s.remembered(ctx, r.t)
	if err != nil {
		return 0, 0, err
	}
	defer unlock()
	if term, err = r.term(ctx, st, true); err != nil {
		return 0, 0, err
	}
	if err := r.s.refresh(ctx, r.t, st); err != nil {
		return 0, 0, err
	}
	switch h := st.head; {
	case h.term > term:
		return 0, 0, r.fenced(h.writer)
	case h.term < term:
		return 0, 0, errNoEvent
	default:
		return term, h.last, nil
	}
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
