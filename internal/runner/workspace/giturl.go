package workspace

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/text"
)

// allowedGit is what a repository's URL may be, as the API has it.
const allowedGit = "want https://HOST/PATH, or http:// where it is near"

var (
	// gitHelper is a transport that runs a program, such as ext::.
	gitHelper = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.-]*::`)
	// gitOverSSH is the short form of an ssh URL: host:path, user@host:path.
	gitOverSSH = regexp.MustCompile(`^(?:[^/@:]+@)?(?:\[[^/]+\]|[^/:]{2,}):`)
)

// ParseURL holds a repository's URL to the API's rules. The error never has
// the URL in it, which may hold a password.
func ParseURL(raw string) (*url.URL, error) {
	scheme, _, found := strings.Cut(raw, "://")
	switch {
	case raw == "":
		return nil, fmt.Errorf("is empty; %s", allowedGit)
	case gitHelper.MatchString(raw):
		return nil, fmt.Errorf("names a program that is to fetch it, and none is run; %s", allowedGit)
	case found && strings.Contains(strings.ToLower(scheme), "ssh"), !found && gitOverSSH.MatchString(raw):
		return nil, fmt.Errorf("is a repository over ssh, for which there are no keys; %s, with a token: %s", allowedGit, whereCredentials)
	case !found, strings.EqualFold(scheme, "file"):
		return nil, fmt.Errorf("is a path of a machine; %s. To work in a folder that is here, leave git out and name it by --workspace", allowedGit)
	case strings.EqualFold(scheme, "git"):
		return nil, fmt.Errorf("uses the git protocol, by which nobody knows who answers; %s", allowedGit)
	case scheme != "http" && scheme != "https":
		return nil, fmt.Errorf("uses %s://; %s", text.Clip(text.Inline(scheme), 32), allowedGit)
	}
	return httpGitURL(raw)
}

// whereCredentials says where to put them.
const whereCredentials = "credentialsSecretRef in a cluster, " + podapi.EnvGitUsername + " and " + podapi.EnvGitPassword + " on a laptop"

func httpGitURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case strings.Contains(authority(raw), "@"):
		return nil, fmt.Errorf("must not hold a user or a password, which everybody who can read the task could read; put them into %s", whereCredentials)
	case strings.Contains(raw, " ") || text.Inline(raw) != raw:
		return nil, fmt.Errorf("has a character that no URL has, such as a blank or a line end; %s", allowedGit)
	case err != nil || text.Inline(u.Path) != u.Path:
		return nil, fmt.Errorf("cannot be read as a URL; %s", allowedGit)
	case u.Hostname() == "" || strings.Trim(u.Path, "/") == "":
		return nil, fmt.Errorf("names no repository; %s", allowedGit)
	case u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(raw, "?#"):
		return nil, fmt.Errorf("must not have a query or a fragment; %s", allowedGit)
	}
	return u, nil
}

// authority is what stands between the scheme and the path, as git takes it.
func authority(raw string) string {
	_, rest, _ := strings.Cut(raw, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}
