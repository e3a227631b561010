package origin

import (
	"net/url"
	"testing"
)

func TestOrigin(t *testing.T) {
	for raw, want := range map[string]struct {
		origin       string
		confidential bool
		upgraded     string
	}{
		"https://git.example.com/a/b":           {"https://git.example.com", true, ""},
		"HTTPS://Git.Example.COM.:443/":         {"https://git.example.com", true, ""},
		"https://git.example.com:8443/a":        {"https://git.example.com:8443", true, ""},
		"http://git.example.com/a":              {"http://git.example.com", false, "https://git.example.com"},
		"http://git.example.com:3000/a":         {"http://git.example.com:3000", false, ""},
		"http://localhost:3000":                 {"http://localhost:3000", true, ""},
		"http://127.8.9.1/a":                    {"http://127.8.9.1", true, "https://127.8.9.1"},
		"http://[::1]:80/a":                     {"http://[::1]", true, "https://[::1]"},
		"http://[::ffff:127.0.0.1]:81/a":        {"http://[::ffff:127.0.0.1]:81", true, ""},
		"http://0.0.0.0:81/a":                   {"http://0.0.0.0:81", true, ""},
		"http://git/a":                          {"http://git", true, "https://git"},
		"http://git.team.svc:8080/a":            {"http://git.team.svc:8080", true, ""},
		"http://git.team.svc.cluster.local/a":   {"http://git.team.svc.cluster.local", true, "https://git.team.svc.cluster.local"},
		"http://git.team/a":                     {"http://git.team", false, "https://git.team"},
		"http://10.0.0.7/a":                     {"http://10.0.0.7", false, "https://10.0.0.7"},
		"http://svc.example.com":                {"http://svc.example.com", false, "https://svc.example.com"},
		"http://cluster.local.example.com":      {"http://cluster.local.example.com", false, "https://cluster.local.example.com"},
		"http://127.0.0.1.example.com":          {"http://127.0.0.1.example.com", false, "https://127.0.0.1.example.com"},
		"http://user@evil.example.com:80/x@git": {"http://evil.example.com", false, "https://evil.example.com"},
		"http://2130706433/":                    {"http://2130706433", false, "https://2130706433"},
		"http://0x7f000001/":                    {"http://0x7f000001", false, "https://0x7f000001"},
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		o, ok := Of(u)
		if !ok || o.String() != want.origin || o.Confidential() != want.confidential {
			t.Errorf("%s: %s, confidential %v, ok %v; want %+v", raw, o, o.Confidential(), ok, want)
		}
		if up, ok := o.Upgraded(); ok != (want.upgraded != "") || ok && up.String() != want.upgraded {
			t.Errorf("%s is upgraded to %s, %v; want %s", raw, up, ok, want.upgraded)
		}
	}
	for _, raw := range []string{"git://host/a", "ssh://host/a", "/a/b", "file:///a", "https:///a", "host:80", ""} {
		u, err := url.Parse(raw)
		if err != nil {
			continue
		}
		if o, ok := Of(u); ok {
			t.Errorf("%q has the origin %s", raw, o)
		}
	}
}
