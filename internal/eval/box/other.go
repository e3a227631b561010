//go:build !linux

package box

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/sampan-dev/sampan/internal/sandbox/client"
)

var errLinux = errors.New("evals need Linux: what an agent does is kept apart from the tests by its namespaces")

// Box is one that runs.
type Box struct{ Socket string }

// Start fails here.
func Start(context.Context, string, Spec) (*Box, error) { return nil, errLinux }

// Client is a client of the box's server.
func (b *Box) Client() *client.Client { return client.New(b.Socket) }

// Close does nothing here.
func (b *Box) Close() error { return nil }

// Spawn fails here.
func Spawn(io.Reader, *os.File, bool) error { return errLinux }

// Enter fails here.
func Enter(io.Reader) error { return errLinux }

// Serve fails here.
func Serve(context.Context, string, int, io.Reader) error { return errLinux }

// Confine fails here.
func Confine([]string) (int, error) { return 0, errLinux }

// Confined fails here.
func Confined([]string) error { return errLinux }
