// Package transcript is the append-only record of a run: JSON Lines in which
// every line names the hash of the line before it, so that a cut, changed or
// reordered record is noticed. A run can be rebuilt from its transcript.
package transcript

import (
	"encoding/json"
	"fmt"
	"time"
)

// SchemaVersion is the version of the format, carried by the first event as "v".
const SchemaVersion = 1

// Type names what an event records.
type Type string

// The event types. Data is the struct of the same name below.
const (
	TypeRunStarted   Type = "run_started"
	TypeRunResumed   Type = "run_resumed"
	TypeRequest      Type = "request"
	TypeResponse     Type = "response"
	TypeToolCall     Type = "tool_call"
	TypeToolResult   Type = "tool_result"
	TypeRetry        Type = "retry"
	TypeFallback     Type = "fallback"
	TypeCompaction   Type = "compaction"
	TypeNotice       Type = "notice"
	TypeVerification Type = "verification"
	// TypeRunEnded is the terminal event: nothing of the same run follows it.
	TypeRunEnded Type = "run_ended"
)

// Event is one line of a transcript.
type Event struct {
	// V is SchemaVersion on the first event and absent from the others.
	V int `json:"v,omitempty"`
	// Seq counts from 1 without gaps.
	Seq int64 `json:"seq"`
	// Time is in UTC.
	Time time.Time `json:"time"`
	// Turn is the model call that the event belongs to; 0 is before the first.
	Turn int  `json:"turn"`
	Type Type `json:"type"`
	// Data depends on Type; Decode gives it as its struct.
	Data json.RawMessage `json:"data"`
	// Prev is the hex SHA-256 of the line before, without its newline; empty
	// on the first event.
	Prev string `json:"prev"`
}

// newData gives an empty data struct for a type, nil for one this version
// does not know.
func newData(t Type) any {
	switch t {
	case TypeRunStarted:
		return &RunStarted{}
	case TypeRunResumed:
		return &RunResumed{}
	case TypeRequest:
		return &Request{}
	case TypeResponse:
		return &Response{}
	case TypeToolCall:
		return &ToolCall{}
	case TypeToolResult:
		return &ToolResult{}
	case TypeRetry:
		return &Retry{}
	case TypeFallback:
		return &Fallback{}
	case TypeCompaction:
		return &Compaction{}
	case TypeNotice:
		return &Notice{}
	case TypeVerification:
		return &Verification{}
	case TypeRunEnded:
		return &RunEnded{}
	}
	return nil
}

// Decode gives the event's data as a pointer to its struct, or nil for a type
// that this version does not know: a reader skips those.
func (e Event) Decode() (any, error) {
	data := newData(e.Type)
	if data == nil {
		return nil, nil
	}
	if err := json.Unmarshal(e.Data, data); err != nil {
		return nil, fmt.Errorf("decoding %s event %d: %w", e.Type, e.Seq, err)
	}
	return data, nil
}
