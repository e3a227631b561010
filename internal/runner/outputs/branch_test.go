package outputs

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
	"github.com/sampan-dev/sampan/internal/testing/gitserver"
)

func branchOutput(ref string) v1alpha1.Output {
	return v1alpha1.Output{Name: "fix", Branch: v1alpha1.BranchOutput{Ref: ref}}
}

func (s *scene) head(branch string) string {
	s.t.Helper()
	return gitserver.Git(s.t, s.server.Dir, "for-each-ref", "--format=%(objectname)", "refs/heads/"+branch)
}

// TestBranch: the branch is a commit on what was checked out, by whom the task says.
func TestBranch(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n"})
	s.write("file", "two\n")
	o := branchOutput("sampan/{{namespace}}/{{task}}")
	o.Branch.Message, o.Branch.Author = "Fix it\n\nAll of it.", v1alpha1.CommitAuthor{Name: "Ann", Email: "ann@example.com"}
	st := s.take(s.taker(1), o)
	if st.Message != "" || st.Ref != "sampan/team/fix" || st.Commit != s.head("sampan/team/fix") || st.Commit == "" {
		t.Fatalf("status is %+v", st)
	}
	want := s.server.Commit + " Ann <ann@example.com> 2026-01-02T03:04:05+00:00 Ann 2026-01-02T03:04:05+00:00 Fix it\n\nAll of it."
	if diff := cmp.Diff(want, gitserver.Git(t, s.server.Dir, "log", "-1", "--format=%P %an <%ae> %aI %cn %cI %B", st.Commit)); diff != "" {
		t.Errorf("the commit (-want +got):\n%s", diff)
	}
	if got := s.content("fix"); !strings.Contains(got, `"commit":"`+st.Commit+`","pushed":true`) {
		t.Errorf("the record has %s", got)
	}
	again := s.take(s.taker(2), o)
	if again.Commit != st.Commit || again.Message != "" {
		t.Errorf("the same work gives %+v, and gave %s", again, st.Commit)
	}
}

// TestBranchIsNotTaken: a branch of somebody else is left as it is, and so is one that is
// not to be pushed.
func TestBranchIsNotTaken(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n"})
	if st := s.take(s.taker(1), branchOutput("fix")); !strings.Contains(st.Message, "nothing to push") {
		t.Errorf("status is %+v", st)
	}
	s.write("file", "two\n")
	if st := s.take(s.taker(1), branchOutput("main")); !strings.Contains(st.Message, "which this task has not pushed") || st.Commit != "" {
		t.Errorf("status is %+v", st)
	}
	if got := s.head("main"); got != s.server.Commit {
		t.Errorf("main was moved to %s", got)
	}
	unproven := s.taker(1)
	unproven.Proven = false
	if st := s.take(unproven, branchOutput("fix")); !strings.Contains(st.Message, "did not succeed") || st.Proof != v1alpha1.OutputUnproven {
		t.Errorf("status is %+v", st)
	}
	for _, ref := range []string{"--force", "a b", "a..b", "a.lock", "+x", "x:main", "refs/heads/x", "{{other}}", "a//b", "a\nb", "@{-1}", "HEAD^"} {
		if st := s.take(s.taker(1), branchOutput(ref)); st.Commit != "" || st.Message == "" {
			t.Errorf("%q: status is %+v", ref, st)
		}
	}
	injected := s.taker(1)
	injected.Task = "x:refs/heads/main"
	if st := s.take(injected, branchOutput("sampan/{{task}}")); st.Commit != "" || !strings.Contains(st.Message, "no name of a branch") {
		t.Errorf("status is %+v", st)
	}
	if got := gitserver.Git(t, s.server.Dir, "for-each-ref", "--format=%(refname)"); got != "refs/heads/main" {
		t.Errorf("the repository has %s", got)
	}
	allowed := branchOutput("fix")
	allowed.Branch.Unproven = v1alpha1.UnprovenPushAllow
	if st := s.take(unproven, allowed); st.Commit == "" || st.Proof != v1alpha1.OutputUnproven {
		t.Errorf("status is %+v", st)
	}
}

// cut is a store that ends as a process does that is killed, after some puts.
type cut struct {
	Store
	puts int
}

var errKilled = errors.New("killed")

func (c *cut) Put(ctx context.Context, x Content, write func(io.Writer) error) (Content, error) {
	if c.puts--; c.puts < 0 {
		return Content{}, errKilled
	}
	return c.Store.Put(ctx, x, write)
}

// TestBranchAfterACrash: what an earlier attempt has pushed is replaced, wherever that
// was killed, and what somebody else has put there since is not.
func TestBranchAfterACrash(t *testing.T) {
	for name, puts := range map[string]int{"before it was recorded": 0, "after the push": 1, "after all": 2} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, map[string]string{"file": "one\n"})
			s.write("file", "two\n")
			first := s.taker(1)
			first.Store = &cut{first.Store, puts}
			s.take(first, branchOutput("fix"))
			pushed := s.head("fix")
			if (pushed != "") != (puts > 0) {
				t.Fatalf("pushed is %q", pushed)
			}
			same := s.take(s.taker(2), branchOutput("fix"))
			if same.Commit == "" || pushed != "" && same.Commit != pushed {
				t.Errorf("the same work: status is %+v, and %s was pushed", same, pushed)
			}
			s.write("file", "recorded, and not pushed\n")
			denied := s.taker(3)
			denied.Push = func(int) (string, string) { return "bob", "wrong" }
			if st := s.take(denied, branchOutput("fix")); st.Commit != "" || s.head("fix") != same.Commit {
				t.Errorf("a push without the right: status is %+v", st)
			}
			s.write("file", "three\n")
			other := s.taker(4)
			other.Store = &cut{other.Store, 1}
			s.take(other, branchOutput("fix"))
			if s.head("fix") == same.Commit {
				t.Error("nothing was pushed in place of what the task had pushed")
			}
			s.write("file", "four\n")
			st := s.take(s.taker(5), branchOutput("fix"))
			if st.Commit == "" || st.Commit != s.head("fix") {
				t.Errorf("other work: status is %+v", st)
			}
			gitserver.Git(t, s.server.Dir, "update-ref", "refs/heads/fix", s.server.Commit)
			s.write("file", "five\n")
			if st := s.take(s.taker(6), branchOutput("fix")); st.Commit != "" || s.head("fix") != s.server.Commit {
				t.Errorf("a branch that somebody has moved: status is %+v", st)
			}
		})
	}
}

// TestBranchIsMovedMeanwhile: the lease holds between the look and the push.
func TestBranchIsMovedMeanwhile(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n"})
	s.write("file", "two\n")
	inner := s.server.Config.Handler
	var once sync.Once
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "git-receive-pack") {
			once.Do(func() { gitserver.Git(t, s.server.Dir, "update-ref", "refs/heads/fix", s.server.Commit) })
		}
		inner.ServeHTTP(w, r)
	}))
	defer srv.Close()
	s.repo.URL = srv.URL + "/repo.git"
	st := s.take(s.taker(1), branchOutput("fix"))
	if st.Commit != "" || !strings.Contains(st.Message, "not taken") || s.head("fix") != s.server.Commit {
		t.Errorf("status is %+v, and the branch is at %s", st, s.head("fix"))
	}
}

// TestPushStays: neither the credentials nor the work go where the server sends git.
func TestPushStays(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n"})
	s.write("file", "SECRET WORK\n")
	var mu sync.Mutex
	var heard []string
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		heard = append(heard, r.URL.String())
		mu.Unlock()
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer evil.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, evil.URL+r.URL.RequestURI(), http.StatusFound)
	}))
	defer first.Close()
	s.repo.URL = first.URL + "/repo.git"
	st := s.take(s.taker(1), branchOutput("fix"))
	if st.Commit != "" || strings.Contains(st.Message, gitserver.Password) || len(heard) > 0 {
		t.Errorf("status is %+v, and another heard %q", st, heard)
	}
}

// TestWrongPassword: the status says that it is wrong, and not what it is.
func TestWrongPassword(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n"})
	s.write("file", "two\n")
	tk := s.taker(1)
	tk.Push = func(int) (string, string) { return "bob", "hunter2hunter2" }
	if st := s.take(tk, branchOutput("fix")); st.Commit != "" || !strings.Contains(st.Message, "Authentication failed") || strings.Contains(st.Message, "hunter2") {
		t.Errorf("status is %+v", st)
	}
}

// TestAnotherPod: the repository is fetched again at the commit that was checked out, even
// where the branch has gone on.
func TestAnotherPod(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n"})
	s.write("file", "two\n")
	other := t.TempDir()
	gitserver.Git(t, other, "clone", "--quiet", s.server.Dir, ".")
	gitserver.Git(t, other, "commit", "--quiet", "--allow-empty", "-m", "later")
	gitserver.Git(t, other, "push", "--quiet", "origin", "HEAD:main")
	s.keep = t.TempDir() + "/none"
	st := s.take(s.taker(2), patchOutput)
	if st.Message != "" || !strings.Contains(s.content("change"), "-one\n+two\n") {
		t.Errorf("status is %+v", st)
	}
	if st := s.take(s.taker(2), branchOutput("fix")); gitserver.Git(t, s.server.Dir, "rev-parse", "fix^") != s.server.Commit {
		t.Errorf("status is %+v", st)
	}
	unknown := s.taker(2)
	s.keep = t.TempDir() + "/none"
	unknown.Room = func(ctx context.Context) (*workspace.Room, error) { return workspace.OpenRoom(ctx, s.keep, s.repo, "") }
	if st := s.take(unknown, patchOutput); !strings.Contains(st.Message, "not known which commit") {
		t.Errorf("status is %+v", st)
	}
}

// TestAgain: a pod that only brings the news of a run's end reports what was kept.
func TestAgain(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n"})
	s.write("report.txt", "made by a verification")
	o := v1alpha1.Output{Name: "report", Path: "report.txt"}
	want := s.take(s.taker(1), o)
	s.workspace = t.TempDir() // a checkpoint from before
	tk := s.taker(1)
	tk.Again = true
	if diff := cmp.Diff(want, s.take(tk, o)); diff != "" || want.Digest == "" {
		t.Errorf("(-first +again):\n%s", diff)
	}
	if st := s.take(tk, v1alpha1.Output{Name: "other", Path: "report.txt"}); !strings.Contains(st.Message, "was not made") {
		t.Errorf("status is %+v", st)
	}
}

// TestStopped: who stops the runner stops git, too.
func TestStopped(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n"})
	s.write("file", "two\n")
	hangs := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { close(hangs); <-r.Context().Done() }))
	defer srv.Close()
	s.repo.URL = srv.URL + "/repo.git"
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-hangs; cancel(errKilled) }()
	began := time.Now()
	st := s.taker(1).Take(ctx, []v1alpha1.Output{branchOutput("fix")})[0]
	if !strings.Contains(st.Message, "not taken: killed") || time.Since(began) > time.Minute {
		t.Errorf("after %s the status is %+v", time.Since(began), st)
	}
}
