package inpod

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/client"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// openJournal begins the transcript of an attempt: a new one, or the one in the record.
func (p *Runner) openJournal(ctx context.Context, at *v1alpha1.AgentTask, rep *reporter, cancel context.CancelCauseFunc, opts transcript.Options) (*recorded.Journal, error) {
	opts.Tee = &p.log
	url := os.Getenv(podapi.EnvRecordURL)
	switch {
	case url == "" && at.Spec.From.TaskRef.Name != "":
		return nil, fmt.Errorf("spec.from: %w: the cluster keeps no record, see the flag --record of the manager", record.ErrNotFound)
	case url == "":
		return recorded.Create(p.transcriptPath(at), opts)
	}
	ca, err := os.ReadFile(filepath.Join(podapi.InputDir, podapi.RecordCAFile))
	if err != nil {
		return nil, fmt.Errorf("reading who signs the certificate of the record: %w", err)
	}
	return resume(ctx, client.Config{
		URL: url, CA: ca, TokenFile: filepath.Join(podapi.InputDir, podapi.RecordTokenFile),
		Namespace: at.Namespace, Task: at.Name, UID: string(at.UID),
	}, rep, cancel, opts)
}

// resume opens the transcript in the record, or begins one with the state of another task,
// and tells when it waits for that.
func resume(ctx context.Context, config client.Config, rep *reporter, cancel context.CancelCauseFunc, opts transcript.Options) (*recorded.Journal, error) {
	config.OnWait = func(err error) { rep.waiting(waitingFor(err)) }
	config.OnGoOn = func() { rep.waiting("") }
	c, err := client.New(config)
	if err != nil {
		return nil, err
	}
	j, err := recorded.Resume(ctx, recorded.Fencing(c, func() { cancel(errFenced) }), rep.listener(), opts)
	from := rep.task.Spec.From
	if err != nil || from.TaskRef.Name == "" {
		return j, err
	}
	turn := record.Last
	if from.Turn != nil {
		turn = int(*from.Turn)
	}
	return j, j.From(ctx, c.Origin(), from.TaskRef.Name, rep.task.Status.FromUID, turn)
}

// waitingFor says what the run waits for. An error names its cause last, which is what
// people need of one that is too long.
func waitingFor(err error) string {
	const prefix = "waiting for the record: "
	return prefix + text.ClipStart(err.Error(), maxActivity-len(prefix))
}

// restore builds the workspace and the home of the last checkpoint where this pod has
// none yet. It gives what takes the next ones; nil where no checkpoints are taken: the
// workspace outlives the pod by itself, or belongs to more than one task.
func (p *Runner) restore(ctx context.Context, sb *v1alpha1.Sandbox, rep *reporter, j *recorded.Journal) (*recorded.Keeper, *harness.Restored, error) {
	switch {
	case verifying(rep.task):
		restored, err := p.restoreSealed(ctx, sb, j)
		return nil, restored, err
	case podapi.Checkpointed(sb):
	case podapi.Persistent(sb), p.ran == rep.task.UID:
		return nil, nil, nil
	default:
		return nil, j.Anew(), nil // a new checkout, or others' work
	}
	k, restored, err := j.Restore(ctx, foldersOf(sb), func() string { return p.base })
	if err != nil || restored == nil {
		return k, j.Anew(), err
	}
	p.prepared, p.base = true, j.Base()
	return k, restored, nil
}

// foldersOf is what checkpoints of a Sandbox have. A volume of the template in the home is
// none of it: the runner does not see it, and its place, which may be made while the
// runner restores, is left alone.
func foldersOf(sb *v1alpha1.Sandbox) recorded.Folders {
	f := recorded.Folders{Workspace: podapi.WorkspaceDir, Limit: limitOf(sb), Home: podapi.HomeDir}
	for _, v := range sb.Spec.Template.Volumes {
		if within, found := strings.CutPrefix(v.MountPath, podapi.HomeDir+"/"); found {
			first, _, _ := strings.Cut(within, "/") // the runtime makes it, so it is not the tools' to write to
			f.HomeExcept = append(f.HomeExcept, first)
		}
	}
	return f
}

// limitOf is how many bytes the workspace may have, 0 if the template does not say.
func limitOf(sb *v1alpha1.Sandbox) int64 {
	if limit := sb.Spec.Template.Workspace.SizeLimit; limit != nil {
		return limit.Value()
	}
	return 0
}
