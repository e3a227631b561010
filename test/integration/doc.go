// Package integration holds the tests that need an API server: what the API
// accepts, what admission lets a runner write, and what the controllers do from
// the first write to the last, under crashes and caches that lag. The tests
// play kubelet and runner.
package integration
