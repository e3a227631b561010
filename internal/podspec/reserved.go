package podspec

import (
	"maps"
	"strings"
)

// Reserved reports whether the key of a label or an annotation is the operator's
// own, so that no template may have it, whatever the administrator allows.
func Reserved(key string) bool {
	prefix, _, found := strings.Cut(key, "/")
	return found && Under(prefix, "sampan.dev") || key == LabelManagedBy
}

// Under reports whether a prefix is a domain or one below it.
func Under(prefix, domain string) bool {
	return prefix == domain || strings.HasSuffix(prefix, "."+domain)
}

// unreserved drops reserved keys, so that a user's label can never be taken for one
// that a selector trusts. The administrator's policy has refused them before.
func unreserved(in map[string]string) map[string]string {
	out := maps.Clone(in)
	maps.DeleteFunc(out, func(key, _ string) bool { return Reserved(key) })
	return out
}
