//go:build !linux

package conformance

import "testing"

func testKeeps(T, Subject)           {}
func testRefusesReadOnly(T, Subject) {}
func testClosedFolder(T, Subject)    {}
func testAbsoluteLinks(T, Subject)   {}
