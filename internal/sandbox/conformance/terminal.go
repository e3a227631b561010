package conformance

import (
	"strings"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// bars draws bars that are much longer than what is asked for, and says
// something before, between and after them.
const bars = `echo 'WARNING: old mirror'
for i in $(seq 1 3000); do printf '\rDownloading %5d/3000 [=====>   ]' $i; done; echo
echo 'ERROR: checksum mismatch'
printf 'a 0%%\nb 0%%\n'; for i in $(seq 1 1000); do printf '\033[2A\033[2Ka %s\n\033[2Kb %s\n' $i $i; done
printf '\033[31mlast\033[0m'`

// testExecTerminal: of what is drawn over, the last state counts; the file has
// all of it.
func testExecTerminal(t T, s Subject) {
	asked := func(r *tool.ExecRequest) { r.MaxOutputBytes, r.Terminal, r.MergeStderr = 500, true, true }
	res := s.shell(t, bars, asked)
	const want = "WARNING: old mirror\nDownloading  3000/3000 [=====>   ]\nERROR: checksum mismatch\na 1000\nb 1000\nlast"
	if string(res.Stdout) != want || res.OmittedStdoutBytes != 0 || res.FullOutputPath != "" {
		t.Errorf("%q, %d omitted, kept in %q", res.Stdout, res.OmittedStdoutBytes, res.FullOutputPath)
	}
	if left := s.shell(t, "ls .sampan/output"); len(left.Stdout) > 0 {
		t.Errorf("kept for nobody: %s", left.Stdout)
	}
	// Where even that is too long, the file has what was printed, byte for byte.
	res = s.shell(t, bars+"; echo; seq 1 1000", asked)
	if !strings.HasPrefix(string(res.Stdout), want[:60]) || !strings.HasSuffix(string(res.Stdout), "\n999\n1000\n") || len(res.Stdout) > 500 {
		t.Errorf("%q", res.Stdout)
	}
	if n := int64(len(res.Stdout)) + res.OmittedStdoutBytes; n != int64(len(want)+1+3893) {
		t.Errorf("%d bytes with those left out", n)
	}
	f, err := s.ReadFile(t.Context(), res.FullOutputPath, 1<<20)
	raw := s.shell(t, bars+"; echo; seq 1 1000", func(r *tool.ExecRequest) { r.MaxOutputBytes = 1 << 20 })
	if err != nil || string(f.Data) != string(raw.Stdout) {
		t.Errorf("the file has %d bytes, %v; the command printed %d", len(f.Data), err, len(raw.Stdout))
	}
	// Each stream is a screen of its own, and one that ends in the middle shows that.
	res = s.shell(t, `printf 'x\rout' ; printf 'y\rerr' >&2; printf '\033[12'; exec sleep 30`, func(r *tool.ExecRequest) { r.Terminal, r.TimeoutSeconds = true, 0.3 })
	if !res.TimedOut || string(res.Stdout) != "out" || string(res.Stderr) != "err" {
		t.Errorf("%q, %q, timed out: %v", res.Stdout, res.Stderr, res.TimedOut)
	}
	res = s.shell(t, bars, func(r *tool.ExecRequest) { r.Terminal, r.OutputFile = true, "all.log" })
	if f, err := s.ReadFile(t.Context(), "all.log", 1<<20); err != nil || string(f.Data) != string(raw.Stdout[:len(f.Data)]) || res.FullOutputPath != "all.log" || string(res.Stdout) != want {
		t.Errorf("with a file of its own: %q, %v", res.Stdout, err)
	}
	if res := s.shell(t, `printf '\033[1mx\r\n'`); string(res.Stdout) != "\x1b[1mx\r\n" {
		t.Errorf("without being asked for: %q", res.Stdout)
	}
}
