// Command coredns is CoreDNS with only the plugins that a development
// cluster's Corefile names. The complete program links the client libraries of
// three clouds, and takes four times as long to build.
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"       // listen on the pod bridge's address only
	_ "github.com/coredns/coredns/plugin/cache"      // answers kept for a while
	_ "github.com/coredns/coredns/plugin/errors"     // failures in the log
	_ "github.com/coredns/coredns/plugin/forward"    // names outside of the cluster
	_ "github.com/coredns/coredns/plugin/hosts"      // the name of the node
	_ "github.com/coredns/coredns/plugin/kubernetes" // Services and pods
	_ "github.com/coredns/coredns/plugin/ready"      // an address to ask whether Services are known
)

func main() {
	coremain.Run()
}
