// Command apiserver serves what is kept of tasks: the record to runners, or what it has
// to people, as an aggregated API.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // for --logging-format=json
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/version"
)

func main() {
	o := newOptions()
	fs := pflag.NewFlagSet("apiserver", pflag.ExitOnError)
	o.bind(fs)
	o.bindLibrary(fs)
	_ = fs.Parse(os.Args[1:]) // it exits where it fails
	if o.version {
		fmt.Println(version.String())
		return
	}
	if err := start(o); err != nil {
		fmt.Fprintln(text.NewWriter(os.Stderr), err)
		os.Exit(1)
	}
}

func start(o *options) error {
	if err := logsapi.ValidateAndApply(o.logging, nil); err != nil {
		return fmt.Errorf("setting up the log: %w", err)
	}
	logs.InitLogs()
	defer logs.FlushLogs()
	ctrl.SetLogger(klog.Background())
	return run(ctrl.SetupSignalHandler(), o)
}

// run serves until ctx ends.
func run(ctx context.Context, o *options) error {
	if err := o.complete(); err != nil {
		return err
	}
	s, err := o.server(ctx)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
