package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unpack returns the files of an archive.
func unpack(t *testing.T, content []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	reader := tar.NewReader(bytes.NewReader(content))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullName(t *testing.T) {
	for name, want := range map[string]string{
		"debian":                         "docker.io/library/debian:latest",
		"debian:bookworm":                "docker.io/library/debian:bookworm",
		"someone/tool":                   "docker.io/someone/tool:latest",
		"ghcr.io/sampan-dev/manager:dev": "ghcr.io/sampan-dev/manager:dev",
		"localhost/x":                    "localhost/x:latest",
		"localhost:5000/x":               "localhost:5000/x:latest",
		"registry:5000/x:1":              "registry:5000/x:1",
		"ghcr.io/x@sha256:00":            "ghcr.io/x@sha256:00",
	} {
		if got := fullName(name); got != want {
			t.Errorf("full name of %s = %s, want %s", name, got, want)
		}
	}
}

func TestPackMissingLeavesOutWhatTheStoreHas(t *testing.T) {
	const name = "example.com/x:1"
	archived, err := singleProgram(name, "/x", []byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	image, err := openSaved(bytes.NewReader(archived))
	if err != nil {
		t.Fatal(err)
	}
	layer := image.digests[0]

	for title, tc := range map[string]struct {
		have      []string
		wantLayer bool
	}{
		"an empty store":             {nil, true},
		"a store with another layer": {[]string{"sha256:00"}, true},
		"a store that has the layer": {[]string{layer}, false},
	} {
		t.Run(title, func(t *testing.T) {
			var out bytes.Buffer
			if err := image.packMissing(&out, name, tc.have); err != nil {
				t.Fatal(err)
			}
			files := unpack(t, out.Bytes())
			content, has := files[blobFile(layer)]
			if has != tc.wantLayer {
				t.Errorf("the layer is in the archive: %t, want %t", has, tc.wantLayer)
			}
			if has && "sha256:"+digestOf(content) != layer {
				t.Error("the layer's content is not what its digest says")
			}
			var index struct{ Manifests []descriptor }
			if err := json.Unmarshal(files[indexFile], &index); err != nil {
				t.Fatal(err)
			}
			if got := index.Manifests[0].Annotations[fullNameAnnotation]; got != name {
				t.Errorf("name = %q, want %q", got, name)
			}
			manifest := files[blobFile(index.Manifests[0].Digest)]
			if "sha256:"+digestOf(manifest) != index.Manifests[0].Digest {
				t.Error("the manifest is not there under its digest")
			}
			var parsed struct {
				Config descriptor
				Layers []descriptor
			}
			if err := json.Unmarshal(manifest, &parsed); err != nil {
				t.Fatal(err)
			}
			if len(parsed.Layers) != 1 || parsed.Layers[0].Digest != layer || files[blobFile(parsed.Config.Digest)] == nil {
				t.Errorf("manifest = %s", manifest)
			}
		})
	}
}

func TestOpenSavedRefusesWhatItCannotKnow(t *testing.T) {
	several, err := archive(entry{"manifest.json", []byte(`[{"Config":"a"},{"Config":"b"}]`), 0o644})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"not an archive": []byte("hello"), "two images": several, "empty": nil} {
		if _, err := openSaved(bytes.NewReader(content)); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestCompleteNames(t *testing.T) {
	for title, tc := range map[string]struct {
		annotations, want map[string]string
	}{
		"a whole name": {
			map[string]string{refNameAnnotation: "ghcr.io/x/y:1"},
			map[string]string{refNameAnnotation: "ghcr.io/x/y:1", fullNameAnnotation: "ghcr.io/x/y:1"},
		},
		"a tag alone": {map[string]string{refNameAnnotation: "v1"}, map[string]string{refNameAnnotation: "v1"}},
		"no name":     {nil, nil},
		"named by containerd": {
			map[string]string{refNameAnnotation: "a/b:1", fullNameAnnotation: "c/d:2"},
			map[string]string{refNameAnnotation: "a/b:1", fullNameAnnotation: "c/d:2"},
		},
	} {
		t.Run(title, func(t *testing.T) {
			index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{{Digest: "sha256:0", Size: 7, Annotations: tc.annotations}}})
			if err != nil {
				t.Fatal(err)
			}
			if index, err = completeNames(index); err != nil {
				t.Fatal(err)
			}
			var got struct {
				SchemaVersion int
				Manifests     []descriptor
			}
			if err := json.Unmarshal(index, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.Manifests[0].Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
			if got.SchemaVersion != 2 || got.Manifests[0].Size != 7 {
				t.Errorf("other fields were lost: %s", index)
			}
		})
	}
}

func TestLayoutAndItsArchiveAreTheSame(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"oci-layout":       `{"imageLayoutVersion":"1.0.0"}`,
		"blobs/sha256/abc": "blob",
		indexFile:          `{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"ghcr.io/x/y:1"}}]}`,
	}
	var entries []entry
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{name, []byte(content), 0o644})
	}
	var fromFolder, fromArchive bytes.Buffer
	if err := packLayout(&fromFolder, dir); err != nil {
		t.Fatal(err)
	}
	packed, err := archive(entries...)
	if err != nil {
		t.Fatal(err)
	}
	if err := nameArchive(&fromArchive, bytes.NewReader(packed)); err != nil {
		t.Fatal(err)
	}
	got := unpack(t, fromFolder.Bytes())
	if diff := cmp.Diff(unpack(t, fromArchive.Bytes()), got); diff != "" {
		t.Errorf("archive and folder differ:\n%s", diff)
	}
	if !bytes.Contains(got[indexFile], []byte(fullNameAnnotation)) {
		t.Errorf("the name was not completed: %s", got[indexFile])
	}
	if err := packLayout(io.Discard, t.TempDir()); err == nil {
		t.Error("a folder that is no layout was packed")
	}
}

func TestSingleProgramIsReproducible(t *testing.T) {
	first, err := singleProgram("example.com/x:1", "/x", []byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := singleProgram("example.com/x:1", "/x", []byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(first, second) {
		t.Error("the same program made two different images")
	}
}

func TestMirrorIn(t *testing.T) {
	for title, tc := range map[string]struct{ sources, want string }{
		"one-line format":   {"# comment\ndeb [arch=amd64] http://mirror.example/debian bookworm main\n", "http://mirror.example/debian"},
		"paragraph format":  {"Types: deb\nURIs: http://mirror.example/debian/\nSuites: bookworm\n", "http://mirror.example/debian/"},
		"security only":     {"deb http://mirror.example/debian-security bookworm-security main\n", ""},
		"another's":         {"deb https://packages.example/apt stable main\n", ""},
		"sources of source": {"deb-src http://mirror.example/debian bookworm main\n", ""},
		"nothing":           {"", ""},
	} {
		if got := mirrorIn(tc.sources); got != tc.want {
			t.Errorf("%s: mirror = %q, want %q", title, got, tc.want)
		}
	}
}
