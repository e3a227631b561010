//go:build pprof

package main

import (
	"net/http"
	_ "net/http/pprof" // registers its handlers
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
)

// A manager that is built with `-tags pprof`, for a measurement, gives its profiles to
// whoever asks at PPROF_ADDRESS. What is delivered is built without.
func init() {
	go func() {
		err := http.ListenAndServe(os.Getenv("PPROF_ADDRESS"), nil) //nolint:gosec // as above
		ctrl.Log.Error(err, "Serving profiles stopped")
	}()
}
