package convert

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// Whatever an answer holds is still there on the other side: a field that was
// added to a result and not to its conversion is noticed.
func TestNothingIsLost(t *testing.T) {
	var lines tool.Lines
	var grep tool.GrepResult
	var glob tool.GlobResult
	for _, v := range []any{&lines, &grep, &glob} {
		fill(t, reflect.ValueOf(v).Elem())
	}
	if diff := cmp.Diff(&lines, ToLines(FromLines(&lines))); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&grep, ToGrep(FromGrep(&grep))); diff != "" {
		t.Errorf("grep (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&glob, ToGlob(FromGlob(&glob))); diff != "" {
		t.Errorf("glob (-want +got):\n%s", diff)
	}
}

// fill gives every field a value that is not its zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1, 0).UTC()))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(1)
	case v.CanUint():
		v.SetUint(1)
	default:
		t.Fatalf("cannot fill a %s", v.Type())
	}
}

// Every sentinel has a code of its own, with a status, and comes back as itself.
func TestErrors(t *testing.T) {
	seen := map[api.Code]bool{}
	for _, s := range sentinels {
		e := FromError(fmt.Errorf("a/b: %w", s.err))
		if e.Code != s.code || seen[e.Code] {
			t.Errorf("%v has the code %s", s.err, e.Code)
		}
		seen[e.Code] = true
		if status := e.Code.Status(); status < 400 || status >= 600 || status == 500 {
			t.Errorf("%s has the status %d", e.Code, status)
		}
		if got := ToError(e); !errors.Is(got, s.err) || got.Error() != "a/b: "+s.err.Error() {
			t.Errorf("%v comes back as %v", s.err, got)
		}
	}
	if e := FromError(errors.New("x")); e.Code != api.CodeInternal || ToError(e).Error() != "sandbox: x" {
		t.Errorf("any other error is %+v", e)
	}
}
