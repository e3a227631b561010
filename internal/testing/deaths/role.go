package deaths

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/apiserver"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/client"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	sandboxclient "github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/sandbox/server"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// The task's place in the record.
const (
	namespace = "team"
	taskName  = "work"
	taskUID   = "5f1c4e1a-0000-4000-8000-000000000001"
)

// roleArgument is the first argument of the program as one of its own parts; the second
// is which, and the third is its settings in JSON.
const roleArgument = "deaths-role"

// settings are those of a part.
type settings struct {
	// Runner: where everything is.
	RecordURL, CAFile, TokenFile, ModelURL, Socket, Workspace string
	// Record: the store's folder, and the certificate that it serves with.
	Store, CertFile, KeyFile string
}

// exitFenced is how a runner ends that has lost its task to another; it reports nothing.
const exitFenced = 3

// report is what a runner says of its end.
type report struct {
	Reason     harness.End
	Message    string
	Transcript harness.TranscriptSummary
}

// Role plays a part of a run where the arguments ask for that, and then does not return.
// Programs that use this package call it first.
func Role() {
	if len(os.Args) < 4 || os.Args[1] != roleArgument {
		return
	}
	var s settings
	err := json.Unmarshal([]byte(os.Args[3]), &s)
	if err == nil {
		switch os.Args[2] {
		case "runner":
			err = runRunner(context.Background(), s)
		case "sandbox":
			if err = server.Protect(); err == nil {
				err = server.Run(context.Background(), server.Options{SocketPath: s.Socket, Workspace: s.Workspace})
			}
		case "record":
			err = runRecord(context.Background(), s)
		default:
			err = errors.New("there is no such part")
		}
	}
	switch {
	case errors.Is(err, errFenced):
		os.Exit(exitFenced)
	case err != nil:
		fmt.Fprintln(os.Stderr, os.Args[2]+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

var errFenced = fmt.Errorf("%w: the task belongs to another pod", harness.ErrInterrupted)

// runRunner does what a runner in a pod does between the claim of its task and the
// report of the end.
func runRunner(ctx context.Context, s settings) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	res, err := drive(ctx, s, cancel)
	if errors.Is(context.Cause(ctx), errFenced) {
		return errFenced
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report{res.Reason, res.Message, res.Transcript})
}

func drive(ctx context.Context, s settings, cancel context.CancelCauseFunc) (harness.Result, error) {
	ca, err := os.ReadFile(s.CAFile)
	if err != nil {
		return harness.Result{}, err
	}
	c, err := client.New(client.Config{URL: s.RecordURL, CA: ca, TokenFile: s.TokenFile, Namespace: namespace, Task: taskName, UID: taskUID})
	if err != nil {
		return harness.Result{}, err
	}
	recording, stop := recorded.Graceful(ctx, recorded.Grace)
	defer stop()
	j, err := recorded.Resume(recording, recorded.Fencing(c, func() { cancel(errFenced) }),
		recorded.Listener{Resumed: func(harness.Progress) {}, Kept: func(record.Checkpoint, string) {}}, transcript.Options{})
	if err != nil {
		return harness.Result{}, err
	}
	res, err := work(ctx, s, j)
	return res, errors.Join(err, j.Writer.Close())
}

func work(ctx context.Context, s settings, j *recorded.Journal) (harness.Result, error) {
	keeper, restored, err := j.Restore(ctx, recorded.Folders{Workspace: s.Workspace}, func() string { return "" })
	if err != nil {
		return harness.Result{}, err
	}
	if restored == nil {
		restored = j.Anew()
	}
	reg, err := models.Parse([]byte(registry(s.ModelURL)))
	if err != nil {
		return harness.Result{}, err
	}
	exec := sandboxclient.New(s.Socket)
	t := task()
	t.Limits.Active += j.Standing.Active
	tools, err := runner.ToolSet(exec, t)
	if err != nil {
		return harness.Result{}, err
	}
	conn := runner.Connector{TaskName: taskName, Env: func(string) string { return "" }}
	return j.Run(ctx, keeper, harness.Config{
		Task: t, Tools: tools, Executor: exec, Ready: exec.WaitReady, Restored: restored,
		Models: &broker.RegistryRouter{Registry: reg, Connect: conn.Connect},
	}, nil), nil
}

// runRecord serves a store over HTTPS, and says at which address.
func runRecord(ctx context.Context, s settings) error {
	store, err := record.Open(ctx, "file://"+s.Store)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	hs := &http.Server{
		Handler: apiserver.RunnersDoor(store, writerOf), ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13},
	}
	return hs.ServeTLS(l, s.CertFile, s.KeyFile)
}

// tokenOf is the token of an attempt's pod, and writerOf the pod of a token: also of one
// whose time is over, so that the record has to tell them apart.
func tokenOf(attempt int) string { return fmt.Sprintf("pod-%d", attempt) }

func writerOf(token string) (record.Writer, bool) {
	said, ok := strings.CutPrefix(token, "pod-")
	n, err := strconv.ParseInt(said, 10, 32)
	return record.Writer{Attempt: int32(n), PodUID: token}, ok && err == nil
}
