package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/internal/record/wire"
)

// CheckpointList is the states that a task can go on from.
type CheckpointList struct {
	metav1.TypeMeta `json:",inline"`
	Items           []Checkpoint `json:"items"`
}

// Checkpoint is a state to go on from.
type Checkpoint struct {
	// Turn is the last turn whose tools had ended.
	Turn int `json:"turn"`
	// Events is the number of the last event that the workspace has the effects of.
	Events int64       `json:"events"`
	Time   metav1.Time `json:"time"`
	// Attempt is the one that it comes from.
	Attempt int32 `json:"attempt"`
	// Files and Bytes are what the workspace has.
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
	// LeftOut names what could not be kept, such as sockets.
	LeftOut []string `json:"leftOut,omitempty"`
}

// readCheckpoints answers with the list of checkpoints.
func (p *people) readCheckpoints(ctx context.Context, name string, w http.ResponseWriter, req *http.Request) error {
	q, err := parseQuery(req.URL.Query(), "uid")
	if err != nil {
		return err
	}
	s, err := p.find(ctx, name, q.uid)
	if err != nil {
		return err
	}
	turns, err := s.store.Turns(ctx, s.task)
	if err != nil {
		return err
	}
	list := CheckpointList{TypeMeta: typeMeta("CheckpointList"), Items: make([]Checkpoint, 0, len(turns))}
	for _, turn := range turns {
		c, err := s.store.Checkpoint(ctx, s.task, turn)
		if err != nil {
			return err
		}
		list.Items = append(list.Items, Checkpoint{
			Turn: c.Turn, Events: c.Events, Time: metav1.NewTime(c.Time), Attempt: c.Writer.Attempt,
			Files: c.Files, Bytes: c.Bytes, LeftOut: c.LeftOut,
		})
	}
	return p.sendJSON(w, list)
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: kind}
}

func (p *people) sendJSON(w http.ResponseWriter, list any) error {
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	out := p.answer(w, wire.JSON)
	if _, err := out.Write(append(data, '\n')); err != nil {
		return out.fail(context.Background(), err)
	}
	return nil
}
