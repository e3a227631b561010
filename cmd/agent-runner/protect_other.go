//go:build !linux

package main

import "github.com/sampan-dev/sampan/internal/sandbox/server"

// protect keeps what this process knows to itself, as far as the system lets it.
func protect() error { return server.Protect() }
