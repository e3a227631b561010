package apiserver

import (
	"context"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

// output is the part of a path that names one.
const output = "output"

// OutputList is what a task has left.
type OutputList struct {
	metav1.TypeMeta `json:",inline"`
	Items           []Output `json:"items"`
}

// Output is a result that a task has left. Its content is at outputs/NAME.
type Output struct {
	Name      string        `json:"name"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
	Digest    record.Digest `json:"digest"`
	// Attempt is the one that it comes from.
	Attempt int32 `json:"attempt"`
	// Proven is false where the run that it comes from did not succeed.
	Proven bool `json:"proven"`
}

// readOutputs answers with the list of outputs, or with the content of one of them.
func (p *people) readOutputs(ctx context.Context, name string, w http.ResponseWriter, req *http.Request) error {
	q, err := parseQuery(req.URL.Query(), "uid")
	if err != nil {
		return err
	}
	wanted := req.PathValue(output)
	if strings.Contains(wanted, "/") {
		return notFound("outputs have no parts; there is nothing at %q", wanted)
	}
	s, err := p.find(ctx, name, q.uid)
	if err != nil {
		return err
	}
	all, err := s.store.Outputs(ctx, s.task)
	if err != nil {
		return err
	}
	if wanted == "" {
		return p.listOutputs(ctx, w, all)
	}
	if !slices.ContainsFunc(all, func(o record.Output) bool { return o.Name == wanted }) {
		return notFound("AgentTask %s has no output %q; it has %q", name, wanted, outputNames(all))
	}
	return p.sendOutput(ctx, s, wanted, w)
}

// outputNames are those of the first outputs.
func outputNames(all []record.Output) []string {
	names := []string{}
	for _, o := range all[:min(len(all), 20)] {
		names = append(names, o.Name)
	}
	return names
}

func (p *people) listOutputs(ctx context.Context, w http.ResponseWriter, all []record.Output) error {
	list := OutputList{TypeMeta: typeMeta("OutputList"), Items: make([]Output, 0, len(all))}
	for _, o := range all {
		list.Items = append(list.Items, Output{
			Name: o.Name, MediaType: o.MediaType, Size: o.Size, Digest: o.Digest, Attempt: o.Writer.Attempt, Proven: o.Proven,
		})
	}
	return p.sendJSON(ctx, w, list)
}

// sendOutput sends the content. It has no Content-Length, so that it can still be cut
// off where all of it turns out not to be what the output's digest says.
func (p *people) sendOutput(ctx context.Context, s *subject, name string, w http.ResponseWriter) error {
	leave, err := p.enter()
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := p.bounded(ctx)
	defer cancel()
	release, err := p.room.take(ctx, heldChunk)
	if err != nil {
		return err
	}
	defer release()
	o, content, err := s.store.OutputContent(ctx, s.task, name)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }() // what was read of it was checked
	out := p.answer(w, mediaType(o.MediaType))
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": o.Name}))
	if _, err := io.Copy(out, content); err != nil {
		return out.fail(ctx, err)
	}
	return out.begin()
}

// mediaType is what a content is said to be, where that can stand in a header.
func mediaType(said string) string {
	kind, parameters, err := mime.ParseMediaType(said)
	if formatted := mime.FormatMediaType(kind, parameters); err == nil && formatted != "" {
		return formatted
	}
	return wire.Content
}
