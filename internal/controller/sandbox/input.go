package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/controller/recording"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// podInput gathers what the pod is made from. The problem is something that a
// user has to mend; the error is something to try again.
func (r *Reconciler) podInput(ctx context.Context, s *scope) (*podspec.Input, *problem, error) {
	sb := s.sandbox
	if problem, err := r.checkPolicy(ctx, sb); problem != nil || err != nil {
		return nil, problem, err
	}
	entry, err := r.Registry.Load(ctx, sb.Namespace)
	if err != nil {
		return nil, registryProblem(err), retryable(err)
	}
	scopes, err := modelregistry.Scopes(ctx, r, sb.Namespace)
	if err != nil {
		return nil, nil, err
	}
	defaulted, err := r.Policy.Defaulted(ctx, sb)
	if err != nil {
		return nil, nil, err
	}
	if problem, err := r.checkVolumes(ctx, defaulted); problem != nil || err != nil {
		return nil, problem, err
	}
	in := &podspec.Input{
		Sandbox: defaulted, PodName: s.podName(),
		RunnerImage: r.Options.RunnerImage, SandboxImage: r.Options.SandboxImage,
		Scopes: scopes, PlatformUser: r.Options.PlatformUser,
	}
	if in.UserNamespaces, err = r.Options.UserNamespaces.For(ctx, defaulted.Spec.Template.RuntimeClassName, podapi.Persistent(sb)); err != nil {
		return nil, nil, err
	}
	if in.Record, err = r.Record.Find(ctx); err != nil {
		return recordMissing(err)
	}
	selector, candidates, unknown := chooseModels(in, s, entry)
	if unknown != nil {
		return nil, unknown, nil
	}
	if podspec.Restricted(sb) {
		if problem, err := policyProblem(r.Policy.Endpoints(ctx, entry.Source, candidates)); problem != nil || err != nil {
			return nil, problem, err
		}
		in.Egress = s.egress(modelsOf(in, candidates), in.Record)
	}
	if in.Registry, err = entry.Registry.Snapshot(selector, candidates); err != nil {
		return nil, nil, err
	}
	if n := len(in.Registry); n > podspec.MaxRegistryBytes {
		return nil, &problem{reason: v1alpha1.ReasonRegistryInvalid, message: fmt.Sprintf(
			"What this Sandbox may use of ConfigMap %s has %d bytes; a pod can carry %d", entry.Source, n, podspec.MaxRegistryBytes)}, nil
	}
	return in, nil, nil
}

// chooseModels finds the models that the pod may use, and what it is given to reach them:
// those of the holder's task, or else all.
func chooseModels(in *podspec.Input, s *scope, entry *modelregistry.Entry) (selector models.Selector, candidates []models.Candidate, found *problem) {
	task := s.holder.task
	if task == nil {
		candidates = entry.All(in.Scopes)
		in.ModelKeys, in.Scripts = modelregistry.Inputs(candidates)
		optional(in)
		return selector, candidates, nil
	}
	if found = forTask(in, s.sandbox, task); found != nil {
		return selector, nil, found
	}
	candidates, err := entry.Route(task, in.Scopes, task.Status.Budget.GrantedUSD != "")
	if err != nil {
		return selector, nil, &problem{reason: v1alpha1.ReasonModelNotFound, message: err.Error()}
	}
	in.ModelKeys, in.Scripts = modelregistry.Inputs(modelsOf(in, candidates))
	return modelregistry.Selector(task), candidates, nil
}

// forTask sets what the pod has of its task, or says why it can have none of it.
func forTask(in *podspec.Input, sb *v1alpha1.Sandbox, task *v1alpha1.AgentTask) *problem {
	if !warm.MadeFor(sb, task) { // the operator makes none such
		return templateConflict(task)
	}
	in.Prompt, in.Verify, in.Outputs, in.Task = task.Spec.PromptFrom, task.Spec.Verify, task.Spec.Outputs, kit.Reference(task, task.Status.Attempt)
	in.Verifying = task.Status.AttemptKind == v1alpha1.AttemptVerification
	return isolationProblem(in, task)
}

func templateConflict(task *v1alpha1.AgentTask) *problem {
	return &problem{reason: v1alpha1.ReasonNameConflict, message: fmt.Sprintf(
		"spec.template is not that of AgentTask %s, which this Sandbox says to belong to; delete the Sandbox", task.Name)}
}

// recordMissing is what podInput gives where the record could not be found.
func recordMissing(err error) (*podspec.Input, *problem, error) {
	if !errors.Is(err, recording.ErrMissing) {
		return nil, nil, err
	}
	return nil, &problem{reason: v1alpha1.ReasonRecordUnavailable, message: "Nothing starts before it can be recorded: " + err.Error(), passing: true}, nil
}

// optional lets a pod start without what it may never use.
func optional(in *podspec.Input) {
	for i := range in.ModelKeys {
		in.ModelKeys[i].Optional = true
	}
	for i := range in.Scripts {
		in.Scripts[i].Optional = true
	}
}

// registryProblem is the problem that a user can mend, or nil.
func registryProblem(err error) *problem {
	var invalid *models.InvalidError
	switch {
	case errors.As(err, &invalid):
		return &problem{reason: v1alpha1.ReasonRegistryInvalid, message: err.Error()}
	case errors.Is(err, modelregistry.ErrNotFound):
		return &problem{reason: v1alpha1.ReasonRegistryNotFound, message: err.Error()}
	}
	return nil
}

func retryable(err error) error {
	if registryProblem(err) != nil {
		return nil
	}
	return err
}
