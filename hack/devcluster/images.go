package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/image"
)

// toolFlag adds the flag that chooses the program that builds and keeps images.
func toolFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("tool", os.Getenv("CONTAINER_TOOL"),
		"docker or buildah (default $CONTAINER_TOOL, or else docker where it works)")
}

func newLoadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "load IMAGE...",
		Short: "Put images into the cluster",
		Long: "Put images into the cluster. An image is the name of one in the storage of Docker or buildah,\n" +
			"or the path of an OCI layout, or of an uncompressed archive of one or of docker save.",
		Args: cobra.MinimumNArgs(1),
	}
	named := toolFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, sources []string) error {
		a, err := newApp()
		if err != nil {
			return err
		}
		tool, err := image.FindTool(cmd.Context(), *named)
		if err != nil {
			return err
		}
		for _, source := range sources {
			if err := load(cmd, a, tool, source); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// load puts an image into every node.
func load(cmd *cobra.Command, a *app, tool image.Tool, source string) error {
	started, some := time.Now(), false
	for _, store := range a.cluster.Images() {
		loaded, err := image.Load(cmd.Context(), store, tool, source)
		if err != nil {
			return fmt.Errorf("loading %s: %w", source, err)
		}
		some = some || loaded
	}
	if !some {
		_, _ = fmt.Fprintf(os.Stderr, "The cluster has %s already\n", source)
		return nil
	}
	_, _ = fmt.Fprintf(os.Stderr, "Loaded %s in %s\n", source, time.Since(started).Round(time.Second/10))
	return nil
}

func newImagesCommand() *cobra.Command {
	targets := []image.Target{
		{Name: "manager", Programs: []string{"manager", "apiserver"}, Image: "ghcr.io/sampan-dev/manager:dev"},
		{Name: "sandbox", Programs: []string{"agent-runner"}, Image: "ghcr.io/sampan-dev/sandbox:dev"},
	}
	cmd := &cobra.Command{
		Use:       "images [TARGET...]",
		Short:     "Compile the project's programs, build its images and print their names",
		ValidArgs: []string{"manager", "sandbox"},
		Args:      cobra.OnlyValidArgs,
	}
	named := toolFlag(cmd)
	andLoad := cmd.Flags().Bool("load", false, "put the images into the cluster too")
	andPush := cmd.Flags().Bool("push", false, "push the images to the registry in their names too")
	base := cmd.Flags().String("base", os.Getenv("BASE_IMG"), "image that they are based on (default $BASE_IMG, or else the Dockerfile's; by digest with --push and docker)")
	for i := range targets {
		target := &targets[i]
		cmd.Flags().StringVar(&target.Image, target.Name, target.Image, "name of the image of the target "+target.Name)
	}
	cmd.RunE = func(cmd *cobra.Command, wanted []string) error {
		a, err := newApp()
		if err != nil {
			return err
		}
		tool, err := image.FindTool(cmd.Context(), *named)
		if err != nil {
			return err
		}
		builder := image.Builder{Repo: a.repo, Tool: tool, Progress: os.Stderr, Base: *base, Pin: *andPush}
		for _, target := range choose(targets, wanted) {
			if err := builder.Build(cmd.Context(), target); err != nil {
				return err
			}
			if *andLoad {
				if err := load(cmd, a, tool, target.Image); err != nil {
					return err
				}
			}
			if *andPush {
				if err := image.Push(cmd.Context(), tool, target.Image); err != nil {
					return err
				}
			}
			if _, err := fmt.Println(target.Image); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// choose returns the targets that were named, or all where none was.
func choose(targets []image.Target, wanted []string) []image.Target {
	if len(wanted) == 0 {
		return targets
	}
	var chosen []image.Target
	for _, target := range targets {
		for _, name := range wanted {
			if target.Name == name {
				chosen = append(chosen, target)
			}
		}
	}
	return chosen
}
