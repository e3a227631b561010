package models

import (
	"maps"
	"regexp"
	"slices"
)

// Admission cannot read YAML, and must know of which Secrets a registry makes use.
// So both it and Parse find their names by the same two expressions, the second of
// them in what the first one found, and Parse refuses a document that names a
// Secret in a way that they miss, such as with an escape or over two lines.
// config/admission/registry_secrets.yaml has them, too; a test ties them together.
const (
	secretMention = `secretName["']?[ \t]*:[ \t]*["']?[-.a-z0-9]+`
	secretName    = `[-.a-z0-9]+$`
)

var mention, mentioned = regexp.MustCompile(secretMention), regexp.MustCompile(secretName)

// plainSecrets are the names of Secrets that admission sees in a document.
func plainSecrets(text []byte) []string {
	var out []string
	for _, m := range mention.FindAll(text, -1) {
		out = append(out, string(mentioned.Find(m)))
	}
	return out
}

func sortedNames(providers map[string]Provider) []string { return slices.Sorted(maps.Keys(providers)) }

// hiddenSecrets reports providers whose Secret admission did not see.
func (v *validator) hiddenSecrets(text []byte, reg *Registry) {
	plain := plainSecrets(text)
	for _, name := range sortedNames(reg.Providers) {
		if k := reg.Providers[name].APIKey; k != nil && k.SecretName != "" && !slices.Contains(plain, k.SecretName) {
			v.fail("providers."+name+".apiKey.secretName", "is not written plainly; write secretName: %s on one line, as admission has to find it there", k.SecretName)
		}
	}
}
