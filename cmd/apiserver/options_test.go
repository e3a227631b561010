package main

import (
	"strings"
	"testing"
)

// The server of the record has the name of its own ServiceAccount, and knows the one that
// reads for people, also where an overlay renames both.
func TestWhoReadsForPeople(t *testing.T) {
	for account, want := range map[string]string{
		"sampan-record":      "sampan-apiserver",
		"my-sampan-record-x": "my-sampan-apiserver-x",
	} {
		o := newOptions()
		o.serve, o.namespace, o.account = serveRecord, "agents", account
		if err := o.complete(); err != nil {
			t.Fatal(err)
		}
		if o.service != account || o.reader != want || o.address != ":8444" {
			t.Errorf("%s: got the Service %s and the reader %s at %s", account, o.service, o.reader, o.address)
		}
	}
	for account, serve := range map[string]string{"other": serveRecord, "": serveRecord, "sampan-record": ""} {
		o := newOptions()
		o.serve, o.namespace, o.account = serve, "agents", account
		if err := o.complete(); err == nil || !strings.Contains(err.Error(), "--") {
			t.Errorf("%q as %q: got %v, want the flag to set", serve, account, err)
		}
	}
}
