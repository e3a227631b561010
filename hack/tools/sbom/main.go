// Command sbom checks a bill of materials against the program that it is of: it is
// CycloneDX, and it names every module that is in there, with its version and the
// hash by which Go knows it.
//
//	sbom PROGRAM BOM.json
package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom PROGRAM BOM.json")
		os.Exit(2)
	}
	n, err := run(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %s: %v\n", os.Args[2], err)
		os.Exit(1)
	}
	fmt.Printf("%s names all %d modules of %s\n", os.Args[2], n, os.Args[1])
}

// run gives the number of modules that were looked for.
func run(program, path string) (int, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(f, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return 0, fmt.Errorf("reading it: %w", err)
	}
	return len(info.Deps), check(&bom, info)
}

// check gives all that is missing.
func check(bom *cyclonedx.BOM, info *debug.BuildInfo) error {
	var wrong []error
	if bom.BOMFormat != cyclonedx.BOMFormat {
		wrong = append(wrong, fmt.Errorf("its format is %q, want %q", bom.BOMFormat, cyclonedx.BOMFormat))
	}
	if bom.Metadata == nil || bom.Metadata.Component == nil || bom.Metadata.Component.Name != info.Main.Path {
		wrong = append(wrong, fmt.Errorf("it does not say that it is of %s", info.Main.Path))
	}
	named := map[string]string{}
	if bom.Components != nil {
		for _, c := range *bom.Components {
			named[c.Name+"@"+c.Version] = hashOf(c)
		}
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		hash, found := named[m.Path+"@"+m.Version]
		switch {
		case !found:
			wrong = append(wrong, fmt.Errorf("%s %s is missing", m.Path, m.Version))
		case hash != strings.TrimPrefix(m.Sum, "h1:"):
			wrong = append(wrong, fmt.Errorf("%s %s has the hash %q, want that of %s", m.Path, m.Version, hash, m.Sum))
		}
	}
	return errors.Join(wrong...)
}

// hashOf is a component's SHA-256, as go.sum writes it.
func hashOf(c cyclonedx.Component) string {
	if c.Hashes == nil {
		return ""
	}
	for _, h := range *c.Hashes {
		if sum, err := hex.DecodeString(h.Value); err == nil && h.Algorithm == cyclonedx.HashAlgoSHA256 {
			return base64.StdEncoding.EncodeToString(sum)
		}
	}
	return ""
}
