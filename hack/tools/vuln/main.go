// Command vuln looks for known vulnerabilities that a program reaches, as
// govulncheck does, in a database that the Go module proxy serves: it works where
// vuln.go.dev cannot be reached, and finds the same tomorrow.
//
//	vuln DATABASE PACKAGE...
//
// It fails on what a change of go.mod mends. What only a newer Go mends it tells:
// which Go compiles is not the repository's to choose. -strict fails on that, too.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/vuln/scan"
)

// stdlib is the module of what comes with Go.
const stdlib = "stdlib"

func main() {
	strict := flag.Bool("strict", false, "fail on vulnerabilities of the standard library, too")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: vuln [-strict] DATABASE PACKAGE...")
		os.Exit(2)
	}
	found, err := run(context.Background(), flag.Arg(0), flag.Args()[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(2)
	}
	if !report(os.Stdout, found, *strict) {
		os.Exit(1)
	}
}

// run scans packages of the current module.
func run(ctx context.Context, database string, packages []string) ([]finding, error) {
	var out, trouble bytes.Buffer
	cmd := scan.Command(ctx, append([]string{"-format=json", "-db=file://" + database}, packages...)...)
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, trouble.Bytes())
	}
	return read(&out)
}

// finding is one vulnerability that the packages reach.
type finding struct{ ID, Summary, Module, Found, Fixed, Via string }

// message is a part of what govulncheck writes; its documentation has the rest:
// https://pkg.go.dev/golang.org/x/vuln/internal/govulncheck.
type message struct {
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
	} `json:"osv"`
	Finding *struct {
		OSV   string `json:"osv"`
		Fixed string `json:"fixed_version"`
		Trace []struct {
			Module   string `json:"module"`
			Version  string `json:"version"`
			Package  string `json:"package"`
			Function string `json:"function"`
		} `json:"trace"`
	} `json:"finding"`
}

// read gives what is reached, once each: a finding whose trace names no function is
// only in a module that is required, or a package that is imported.
func read(r io.Reader) ([]finding, error) {
	summaries := map[string]string{}
	var found []finding
	for decoder := json.NewDecoder(r); ; {
		var m message
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading what govulncheck found: %w", err)
		}
		if m.OSV != nil {
			summaries[m.OSV.ID] = m.OSV.Summary
		}
		if m.Finding == nil || len(m.Finding.Trace) == 0 || m.Finding.Trace[0].Function == "" {
			continue
		}
		known := slices.ContainsFunc(found, func(f finding) bool { return f.ID == m.Finding.OSV })
		if at := m.Finding.Trace[0]; !known {
			found = append(found, finding{ID: m.Finding.OSV, Module: at.Module, Found: at.Version, Fixed: m.Finding.Fixed,
				Via: m.Finding.Trace[len(m.Finding.Trace)-1].Package})
		}
	}
	for i := range found {
		found[i].Summary = summaries[found[i].ID]
	}
	return found, nil
}

// report tells what was found and whether it is good enough.
func report(w io.Writer, found []finding, strict bool) bool {
	good := true
	for _, f := range found {
		fixed := "there is no fix yet"
		if f.Fixed != "" {
			fixed = "fixed in " + f.Fixed
		}
		weight := "error"
		if f.Module == stdlib && !strict {
			weight = "warning"
		} else {
			good = false
		}
		_, _ = fmt.Fprintf(w, "%s: %s: %s: %s %s, %s, reached from %s; https://pkg.go.dev/vuln/%s\n",
			weight, f.ID, f.Summary, f.Module, f.Found, fixed, f.Via, f.ID)
	}
	if len(found) == 0 {
		_, _ = fmt.Fprintln(w, "no known vulnerability is reached")
	}
	return good
}
