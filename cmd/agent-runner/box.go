package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/internal/eval/box"
)

// boxCommand holds the processes that a box of an eval is made of; see package box.
func boxCommand(code *int) *cobra.Command {
	var workspace string
	var listener int
	var noNetwork bool
	serve := &cobra.Command{
		Use: box.ServeCommand, Args: noArgs, Short: "Be the server of a box",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return box.Serve(cmd.Context(), workspace, listener, os.Stdin)
		},
	}
	serve.Flags().StringVar(&workspace, "workspace", "", "folder to serve")
	serve.Flags().IntVar(&listener, "listener", 0, "descriptor that listens")
	spawn := &cobra.Command{
		Use: box.SpawnCommand, Args: noArgs, Short: "Start the first process of a box",
		RunE: func(*cobra.Command, []string) error { return box.Spawn(os.Stdin, os.NewFile(3, "plan"), noNetwork) },
	}
	spawn.Flags().BoolVar(&noNetwork, "no-network", false, "leave nothing but a loopback interface")
	cmd := group(&cobra.Command{Use: box.Command, Short: "Run commands apart from this machine", Hidden: true},
		&cobra.Command{
			Use: box.EnterCommand, Args: noArgs, Short: "Make a box and become its server",
			RunE: func(*cobra.Command, []string) error { return box.Enter(os.NewFile(3, "plan")) },
		},
		spawn, serve,
		&cobra.Command{
			Use: box.ConfineCommand + " -- COMMAND…", Args: someArgs, Short: "Run a command of a box apart from the tests",
			RunE: func(_ *cobra.Command, args []string) (err error) {
				*code, err = box.Confine(args)
				return err
			},
		},
		&cobra.Command{
			Use: box.ConfinedCommand + " -- COMMAND…", Args: someArgs, Short: "Become a command apart from the tests",
			RunE: func(_ *cobra.Command, args []string) error { return box.Confined(args) },
		})
	return cmd
}

func someArgs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError{errors.New("want a command")}
	}
	return nil
}
