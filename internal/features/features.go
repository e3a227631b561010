// Package features are the parts of Sampan that an administrator can turn on and off,
// by the stage that they have come to.
package features

import (
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/component-base/featuregate"
)

// SandboxAPI is the use of Sandboxes by people and other agents, by way of the API server.
const SandboxAPI featuregate.Feature = "SandboxAPI"

// SandboxPool keeps the Sandboxes of pools warm, and has tasks claim them.
const SandboxPool featuregate.Feature = "SandboxPool"

// specs are the stages and defaults: Alpha is off, Beta is on and may still change, GA
// cannot be turned off. docs/operations.md lists them.
var specs = map[featuregate.Feature]featuregate.FeatureSpec{
	SandboxAPI:  {Default: true, PreRelease: featuregate.Beta},
	SandboxPool: {Default: true, PreRelease: featuregate.Beta},
}

// New gives the gates as they are by default.
func New() featuregate.MutableFeatureGate {
	gates := featuregate.NewFeatureGate()
	utilruntime.Must(gates.Add(specs))
	return gates
}
