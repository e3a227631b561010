// The vulnerability database that `make vuln` looks into, as the Go team publishes
// it: a pin, of which nothing is compiled. `make vulndb` takes the newest. No
// `go mod tidy` here: it would drop what no package imports.
module github.com/sampan-dev/sampan/hack/tools/vulndb

go 1.26.0

require golang.org/x/vulndb v0.0.0-20261105234957-e22db6528018
