package main

import (
	"flag"
	"testing"

	"github.com/sampan-dev/sampan/internal/controller/sandbox"
)

// A user namespace has no user as high as platforms give them.
func TestPlatformUserAndUserNamespaces(t *testing.T) {
	for name, tc := range map[string]struct {
		args     []string
		platform bool
		want     sandbox.UserNamespaceMode
	}{
		"default":          {nil, false, sandbox.UserNamespacesAuto},
		"fixed":            {[]string{"--run-as-user=fixed"}, false, sandbox.UserNamespacesAuto},
		"platform":         {[]string{"--run-as-user=platform"}, true, sandbox.UserNamespacesOff},
		"platform, and on": {[]string{"--run-as-user=platform", "--user-namespaces=on"}, true, sandbox.UserNamespacesOn},
	} {
		t.Run(name, func(t *testing.T) {
			var o options
			fs := flag.NewFlagSet("manager", flag.ContinueOnError)
			o.bind(fs)
			if err := fs.Parse(append(tc.args, "--runner-image=r", "--operator-namespace=n")); err != nil {
				t.Fatal(err)
			}
			if err := o.complete(); err != nil {
				t.Fatal(err)
			}
			if o.sandbox.PlatformUser != tc.platform || o.sandbox.UserNamespaces.Mode != tc.want {
				t.Errorf("platform %v, user namespaces %s", o.sandbox.PlatformUser, o.sandbox.UserNamespaces.Mode)
			}
		})
	}
}
