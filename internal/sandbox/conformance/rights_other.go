//go:build !linux

package conformance

import "testing"

func testKeeps(*testing.T, Subject)           {}
func testRefusesReadOnly(*testing.T, Subject) {}
func testClosedFolder(*testing.T, Subject)    {}
func testAbsoluteLinks(*testing.T, Subject)   {}
