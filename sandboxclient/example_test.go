package sandboxclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/sampan-dev/sampan/sandboxclient"
)

// A script is written into a Sandbox and run there, and its output comes as it is printed.
func Example() {
	config, stop := cluster() // rest.InClusterConfig, or that of a kubeconfig
	defer stop()
	ctx := context.Background()

	box, err := sandboxclient.New(config, "default", "workbench")
	if err != nil {
		log.Fatal(err)
	}
	file, err := box.WriteFile(ctx, "hello.sh", []byte("echo hello; exit 3\n"), sandboxclient.WriteOptions{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = box.WriteFile(ctx, "hello.sh", nil, sandboxclient.WriteOptions{IfAbsent: true})
	fmt.Println(file.Size, "bytes; once more:", sandboxclient.CodeOf(err))

	stream, err := box.Start(ctx, sandboxclient.StreamRequest{Argv: []string{"sh", "hello.sh"}, TimeoutSeconds: 60})
	if err != nil {
		log.Fatal(err)
	}
	defer stream.Close()
	for {
		event, err := stream.Next()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			log.Fatal(err)
		case event.Stdout != nil:
			fmt.Print(string(event.Stdout.Data))
		case event.Exit != nil && event.Exit.ExitCode != nil:
			fmt.Println("exit code", *event.Exit.ExitCode)
		}
	}
	// Output:
	// 19 bytes; once more: precondition_failed
	// hello
	// exit code 3
}
