package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every command and flag that `agent-runner --help` tells of is in docs/agent-runner.md.
func TestCommandsAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/agent-runner.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := string(data)
	seen := 0
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		path := strings.TrimPrefix(cmd.CommandPath(), "agent-runner ")
		if cmd.Runnable() && cmd.HasParent() && !cmd.HasSubCommands() {
			seen++
			begin := strings.Index(docs, "| **"+path+"**")
			if begin < 0 {
				t.Errorf("docs/agent-runner.md does not have the command %s", path)
				return
			}
			section, _, _ := strings.Cut(docs[begin+3:], "| **")
			cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name != "help" && !f.Hidden && !strings.Contains(section, "`--"+f.Name+"`") {
					t.Errorf("docs/agent-runner.md: %s does not have --%s", path, f.Name)
				}
			})
		}
		for _, sub := range cmd.Commands() {
			if !sub.Hidden {
				check(sub)
			}
		}
	}
	code := 0
	check(rootCommand(&code))
	if seen < 8 {
		t.Errorf("saw %d commands", seen)
	}
}
