package run

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner"
)

// alone is the registry of an eval with one model and its provider, as a document: a
// fallback would have another model's result counted as this one's.
func (e Eval) alone(id string) (doc string, priced bool, err error) {
	reg, err := runner.LoadRegistry(e.Registry)
	if err != nil {
		return "", false, err
	}
	m, ok := reg.Model(id)
	if !ok {
		return "", false, fmt.Errorf("%s has no model %q any more", e.Registry, id)
	}
	p := reg.Providers[m.Provider]
	if p.Script != nil { // the document will be in another folder
		script := models.ScriptSource{File: runner.ScriptBeside(e.Registry)(p)}
		p.Script = &script
	}
	doc, err = reg.Snapshot(models.Selector{Name: id}, []models.Candidate{{Model: m, Provider: p}})
	return doc, m.Pricing != nil, err
}

// settings gives, by model, a digest of what else than the task decides on an outcome. It has
// where keys are, and no key.
func (e Eval) settings(ids []string) (map[string]string, error) {
	digests := map[string]string{}
	for _, id := range ids {
		entry := ""
		if e.Agent == Model {
			var err error
			if entry, _, err = e.alone(id); err != nil {
				return nil, err
			}
		}
		data, err := json.Marshal([]any{e.Version, e.Env, e.Expose, entry})
		if err != nil {
			return nil, err
		}
		digests[id] = fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	}
	return digests, nil
}

// writeRegistry writes the registry of the trial, and gives its path.
func (a *attempt) writeRegistry() (string, error) {
	doc, priced, err := a.eval.alone(a.Model)
	if err != nil {
		return "", err
	}
	a.outcome.Unpriced = !priced
	path := filepath.Join(a.work, "registry.yaml")
	return path, os.WriteFile(path, []byte(doc), 0o600)
}
