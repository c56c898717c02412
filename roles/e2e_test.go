package roles

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rbee/core/api"
)

const guide = "../inference/model/testdata/llama.gguf" // noise, but a model

func abs(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// One command, four processes, one answer; then nothing.
func TestInfer(t *testing.T) {
	w := newWorld(t)
	r := w.start("rbee", "infer", "how do I add a machine?", "--temperature", "0", "--max-tokens", "80")
	r.expect(0, "rbee: cleaned up: llm-worker-rbee, queen-rbee, rbee-hive ended in", "nothing left")
	if !strings.Contains(r.stdout(), "`rbee node add NAME`") {
		t.Errorf("stdout: %q", r.stdout())
	}
	if left := w.procs(""); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if files := w.rbeeFiles(); !slices.Equal(files, []string{"models.db"}) {
		t.Errorf("~/.rbee holds %v", files)
	}
}

// The same seed gives the same text; another one another.
func TestSeed(t *testing.T) {
	w := newWorld(t)
	ask := func(seed string) string {
		r := w.start("rbee", "infer", "--raw", "--model", abs(t, guide), "--prompt", "Hello", "--max-tokens", "12", "--temperature", "1.5", "--seed", seed)
		r.expect(0)
		return r.stdout()
	}
	a, b, c := ask("7"), ask("7"), ask("8")
	if a != b || a == c || a == "" {
		t.Errorf("seeds 7, 7, 8: %q, %q, %q", a, b, c)
	}
}

// The mission's own test: a hive in one terminal, infer in another.
func TestOperatorsHive(t *testing.T) {
	need(t, 9200)
	w := newWorld(t)
	hive := w.start("rbee-hive", "daemon")
	if h := w.healthy(9200); h.Role != "hive" || h.Mode != "persistent" {
		t.Fatalf("hive: %+v", h)
	}
	for range 2 {
		r := w.start("rbee", "infer", "--node", "localhost", "--model", abs(t, guide), "--prompt", "hello world", "--max-tokens", "10")
		r.expect(0, "using the hive that runs on port 9200", "cleaned up: llm-worker-rbee, queen-rbee ended in", "nothing left")
		if r.stdout() == "" {
			t.Error("no answer")
		}
		if len(w.procs("llm-worker-rbee")) != 0 || len(w.procs("rbee-hive")) != 1 {
			t.Errorf("after the answer there are %v", w.procs(""))
		}
	}
	if files := w.rbeeFiles(); !slices.Equal(files, []string{"models.db"}) {
		t.Errorf("~/.rbee holds %v", files)
	}
	if err := hive.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	hive.expect(130)
	if files := w.rbeeFiles(); !slices.Equal(files, []string{"models.db"}) {
		t.Errorf("~/.rbee holds %v", files)
	}
}

// Ctrl+C of the hive that an answer is made on ends its worker, and the answer
// ends with an error.
func TestOperatorEndsHive(t *testing.T) {
	need(t, 9200)
	w := newWorld(t)
	hive := w.start("rbee-hive", "daemon")
	w.healthy(9200)
	r := w.start("rbee", "infer", "--json", "--model", bigModel(t, 2), "--temperature", "0", "--prompt", "a b c")
	r.reach("token 3", token(3))
	if err := hive.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	hive.expect(130)
	r.expect(1, "Error: ")
}

func TestTenAtOnce(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	runs := make([]*run, 10)
	for i := range runs {
		runs[i] = w.start("rbee", "infer", "what is a hive?", "--temperature", "0", "--max-tokens", "40")
	}
	for _, r := range runs {
		all.Go(func() { <-r.ended })
	}
	all.Wait()
	for i, r := range runs {
		r.expect(0, "nothing left")
		if r.stdout() != runs[0].stdout() || r.stdout() == "" {
			t.Errorf("answer %d: %q, the first: %q", i, r.stdout(), runs[0].stdout())
		}
	}
	if files := w.rbeeFiles(); !slices.Equal(files, []string{"models.db"}) {
		t.Errorf("~/.rbee holds %v", files)
	}
}

func TestPortsTaken(t *testing.T) {
	need(t, 8080, 9200, 8001)
	for _, p := range []int{8080, 9200, 8001} { // strangers that accept and say nothing
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
	}
	w := newWorld(t)
	r := w.start("rbee", "infer", "what is a hive?", "--max-tokens", "5")
	r.expect(0, "port 8080 is taken, the queen is on 808", "port 9200 is taken, the hive is on 920", "nothing left")
	hive := w.start("rbee-hive", "daemon")
	hive.expect(2, "Error: address 127.0.0.1:9200 is taken by another program", "Try: ")
}

// What a worker has said is on stdout, even when it says nothing more.
func TestTokensAreRelayedAtOnce(t *testing.T) {
	w := newWorld(t)
	r := w.start("rbee", "infer", "--model", bigModel(t, 2), "--temperature", "0", "--prompt", "a b c", "--max-tokens", "200")
	r.speak() // token 1
	worker := w.proc("llm-worker-rbee")
	if err := worker.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if got := r.stdout(); !strings.HasPrefix(got, "a") {
		t.Errorf("stdout before the worker was stopped: %q", got)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r.expect(143) // a stopped worker is ended, too
}

// Enough was read.
func TestStdoutCloses(t *testing.T) {
	w := newWorld(t)
	r := w.start("rbee", "infer", "--model", bigModel(t, 2), "--temperature", "0", "--prompt", "a b c")
	r.speak()
	r.closeStdoutNow()
	r.expect(0)
}

// Whoever of the four is killed, in whatever phase: within seconds nothing is
// left, and the keeper says what happened.
func TestKill(t *testing.T) {
	phases := map[string]struct {
		model func(*testing.T) string
		words int
		at    func(api.Event) bool
	}{
		"load":    {func(t *testing.T) string { return bigModel(t, 16) }, 3, phase(api.Load)},
		"prefill": {func(t *testing.T) string { return bigModel(t, 2) }, 900, phase(api.Prefill)},
		"token 5": {func(t *testing.T) string { return bigModel(t, 2) }, 3, token(5)},
	}
	ends := map[syscall.Signal]map[string]struct {
		status int
		says   []string
	}{
		syscall.SIGTERM: {
			"rbee":            {143, []string{"nothing left"}},
			"queen-rbee":      {1, []string{"Error: the queen"}},
			"rbee-hive":       {1, []string{"Error: "}},
			"llm-worker-rbee": {1, []string{"Error: the worker on localhost ended"}},
		},
		syscall.SIGKILL: {
			"rbee":            {-1, nil},
			"queen-rbee":      {1, []string{"Error: the queen ended: queen-rbee: signal: killed"}},
			"rbee-hive":       {1, []string{"Error: "}},
			"llm-worker-rbee": {1, []string{"Error: the worker on localhost ended", "killed"}},
		},
	}
	for name, p := range phases {
		for sig, roles := range ends {
			for role, want := range roles {
				t.Run(fmt.Sprintf("%s/%s/%v", name, role, sig), func(t *testing.T) {
					w := newWorld(t)
					r := w.start("rbee", "infer", "--json", "--model", p.model(t), "--prompt", strings.Repeat("a ", p.words), "--temperature", "0", "--max-tokens", "1000")
					r.reach(name, p.at)
					target := lookup(w, r, role)
					before := r.stdout()
					began := time.Now()
					if err := target.Signal(sig); err != nil {
						t.Fatal(err)
					}
					r.expect(want.status, want.says...)
					w.until("nothing is left", func() bool { return len(w.procs("")) == 0 })
					if took := time.Since(began); took > 10*time.Second {
						t.Errorf("it took %v until nothing was left", took)
					}
					if !strings.HasPrefix(r.stdout(), before) || name == "token 5" && !strings.Contains(before, `"t":"a"`) {
						t.Errorf("what was answered is lost: %q", r.stdout())
					}
					files := w.rbeeFiles()
					if role == "rbee-hive" && sig == syscall.SIGKILL { // it may have been writing a hash
						files = slices.DeleteFunc(files, func(f string) bool { return f == "models.db-journal" })
					}
					if !slices.Equal(files, []string{"models.db"}) {
						t.Errorf("~/.rbee holds %v", files)
					}
				})
			}
		}
	}
}

type signaller interface{ Signal(syscall.Signal) error }

// lookup finds the process that plays a role in a run.
func lookup(w *world, r *run, role string) signaller {
	w.t.Helper()
	if role == "rbee" {
		return command{r.cmd.Process}
	}
	return w.proc(role)
}

type command struct{ p *os.Process }

func (c command) Signal(s syscall.Signal) error { return c.p.Signal(s) }

// Whatever is wrong is said with the next step, and nothing is left running.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	whole, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	unknown := slices.Clone(whole)
	copy(unknown[strings.Index(string(whole), "llama"):], "lamma")
	tests := map[string]struct {
		args   []string
		status int
		says   []string
	}{
		"cut off":         {[]string{"--model", write("cut.gguf", whole[:len(whole)/2]), "hi"}, 2, []string{"Error: model ", "cut off", "Try: "}},
		"text":            {[]string{"--model", write("text.gguf", []byte("Once upon a time, a text was no model.")), "hi"}, 2, []string{"Error: model ", `starts with "Once"`, "Try: "}},
		"architecture":    {[]string{"--model", write("lamma.gguf", unknown), "hi"}, 1, []string{`architecture "lamma" is not supported, only: bert gemma`}},
		"missing model":   {[]string{"--model", dir + "/nowhere.gguf", "hi"}, 1, []string{"Error: model file", "Try: check the path"}},
		"directory":       {[]string{"--model", dir, "hi"}, 2, []string{"is no file"}},
		"hub":             {[]string{"--model", "hf:repo", "hi"}, 2, []string{`"repo" is no repository, want org/repo`, "Try: write it as hf:org/repo"}},
		"alias":           {[]string{"--model", "no-such-model", "hi"}, 1, []string{"Error: model no-such-model is", "Try: give org/repo"}},
		"cuda":            {[]string{"--backend", "cuda", "hi"}, 1, []string{`backend "cuda" is not in this build`}},
		"unknown node":    {[]string{"--node", "no-such-node.invalid", "hi"}, 1, []string{"Error: node no-such-node.invalid", "Try: "}},
		"node, an option": {[]string{"--node", "-oProxyCommand=x", "hi"}, 2, []string{"is not a name"}},
		"context":         {[]string{"--ctx", "100000", "hi"}, 1, []string{"a context of 100000 tokens is not supported"}},
		"long prompt":     {[]string{"--ctx", "32", strings.Repeat("bees ", 100)}, 1, []string{"the prompt needs a context of", "required_tokens: ", "Try: "}},
		"empty prompt":    {[]string{"--prompt", " "}, 2, []string{"the prompt is empty"}},
		"no queen":        {[]string{"--queen", "http://127.0.0.1:1", "hi"}, 1, []string{"no queen answers at http://127.0.0.1:1"}},
		"raw and system":  {[]string{"--raw", "--system", "be brief", "hi"}, 2, []string{"Error: --system with --raw", "Try: "}},
		"think":           {[]string{"--think", "maybe", "hi"}, 2, []string{"want on or off", "Try: --think off"}},
		"no time":         {[]string{"--timeout", "1ms", "hi"}, 1, []string{"no whole answer in 1ms"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.start("rbee", append([]string{"infer", "--max-tokens", "5"}, tt.args...)...)
			r.expect(tt.status, tt.says...)
			if r.stdout() != "" {
				t.Errorf("stdout: %q", r.stdout())
			}
			if left := w.procs(""); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A queen that runs is used, and left running; her worker is used again.
func TestPersistentQueen(t *testing.T) {
	need(t, 8080, 9200)
	w := newWorld(t)
	q := w.start("queen-rbee", "daemon")
	w.healthy(8080)
	for i := range 2 {
		r := w.start("rbee", "infer", "what is a hive?", "--max-tokens", "5")
		r.expect(0)
		if strings.Contains(r.stderr(), "cleaned up") || strings.Contains(r.stderr(), "model loaded") != (i == 0) {
			t.Errorf("run %d: %s", i, r.stderr())
		}
	}
	s := w.start("rbee", "status")
	s.expect(0)
	if !strings.Contains(s.stdout(), "embedded") || !strings.Contains(s.stdout(), "4 of 4 slots free") {
		t.Errorf("status: %s", s.stdout())
	}
	if err := q.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	q.expect(143)
	w.until("nothing is left", func() bool { return len(w.procs("")) == 0 })
}
