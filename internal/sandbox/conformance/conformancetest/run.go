// Package conformancetest runs the suite of an executor as a Go test.
package conformancetest

import (
	"testing"

	"github.com/sampan-dev/sampan/internal/sandbox/conformance"
)

// Run runs the suite; newSubject gives a fresh executor with an empty workspace.
func Run(t *testing.T, newSubject func(t *testing.T) conformance.Subject) {
	t.Helper()
	for _, c := range conformance.Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Test(test{t}, newSubject(t)) })
	}
}

// test is a Go test as the suite wants one.
type test struct{ *testing.T }

// Run implements conformance.T.
func (t test) Run(name string, f func(conformance.T)) bool {
	return t.T.Run(name, func(t *testing.T) { f(test{t}) })
}
