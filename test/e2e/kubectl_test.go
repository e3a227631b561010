package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// commandTimeout bounds one kubectl.
const commandTimeout = 3 * time.Minute

func suiteContext() context.Context { return context.Background() }

// kubectl runs it and gives what it printed; a failure fails the spec.
func kubectl(args ...string) string {
	GinkgoHelper()
	out, err := tryKubectl("", args...)
	Expect(err).NotTo(HaveOccurred())
	return out
}

// tryKubectl runs it with an input and gives what it printed and how it failed.
func tryKubectl(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(suiteContext(), commandTimeout)
	defer cancel()
	program := os.Getenv("KUBECTL")
	if program == "" {
		program = "kubectl"
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.WaitDelay = strings.NewReader(stdin), 5*time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), errors.Join(fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String()), ctx.Err())
	}
	return stdout.String(), nil
}
