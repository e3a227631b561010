package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// installCommand puts this program where a container finds it whose image has none.
func installCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "install DIR",
		Short:  "Copy this program into a folder",
		Hidden: true,
		Args:   oneArg,
		RunE: func(_ *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding this program: %w", err)
			}
			return install(self, filepath.Join(args[0], "agent-runner"))
		},
	}
}

// install copies a program; what is at the path is whole at every moment.
func install(program, path string) (err error) {
	in, err := os.Open(program)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.CreateTemp(filepath.Dir(path), ".install-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(out.Name())
		}
	}()
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(0o755), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), path)
}
