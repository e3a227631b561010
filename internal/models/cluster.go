package models

// ParseInCluster is Parse for a registry of a cluster. What is for runs on a laptop
// is refused: in a pod a variable or a file that a registry names would be the
// runner's own, git's password among them, and go to whatever URL stands beside it.
func ParseInCluster(data []byte) (*Registry, error) {
	reg, v, err := parse(data)
	if err != nil {
		return nil, err
	}
	for _, name := range sortedNames(reg.Providers) {
		p, path := reg.Providers[name], "providers."+name
		if p.APIKey != nil && p.APIKey.Env != "" {
			v.fail(path+".apiKey.env", "is for runs without a cluster; give secretName and key")
		}
		if p.Script != nil && p.Script.File != "" {
			v.fail(path+".script.file", "is for runs without a cluster; give configMapName and key")
		}
	}
	if problems := v.problems.List(); len(problems) > 0 {
		return nil, &InvalidError{Problems: problems}
	}
	return reg, nil
}
