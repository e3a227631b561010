// Package e2e tests Sampan as its users meet it: kubectl, a real cluster and
// the deployed operator. `make test-e2e` makes and prepares the cluster.
//
// Every scenario has a namespace of its own, in which Pod Security enforces
// "restricted", with its own model registry and script. While it runs, a witness
// watches the namespace and checks on every change what must always hold.
package e2e
