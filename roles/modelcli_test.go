package roles

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rbee/core/api"
)

// Everything about models works without a daemon, and leaves the model and the
// catalog alone behind.
func TestModelsWithoutDaemon(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	in := "hf:" + repo + ":Q4_K_M"
	rbee := func(status int, args ...string) *run {
		t.Helper()
		r := w.startEnv(h.env(), "rbee", append([]string{"model"}, args...)...)
		r.expect(status)
		if len(w.procs("")) > 0 {
			t.Errorf("model %q has left %v", args, w.procs(""))
		}
		return r
	}
	pulled := rbee(0, "pull", repo)
	file := strings.TrimSuffix(pulled.stdout(), "\n")
	if list := blobs(w.home); len(list) != 1 || list[0] != file {
		t.Errorf("the file is said to be %q, there are %v", file, list)
	}
	for _, says := range []string{"tiny-GGUF: Q4_K_M, the first of", "tiny-GGUF: complete, ", "nothing left"} {
		if !strings.Contains(pulled.stderr(), says) {
			t.Errorf("pull does not say %q: %s", says, pulled.stderr())
		}
	}
	if got := rbee(0, "list").stdout(); !strings.Contains(got, in) {
		t.Errorf("list: %s", got)
	}
	if got := rbee(0, "show", repo).stdout(); !strings.Contains(got, file) || !strings.Contains(got, "quantization  Q4_K_M") {
		t.Errorf("show: %s", got)
	}
	if got := rbee(0, "verify").stdout(); !strings.Contains(got, in+" on localhost: good\n") {
		t.Errorf("verify: %s", got)
	}
	if err := os.WriteFile(file, []byte("GGUF, but no more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := rbee(1, "verify", in); !strings.Contains(got.stderr(), "not what they were") || !strings.Contains(got.stderr(), "Try: rbee model pull "+in) {
		t.Errorf("verify of a damaged file: %s", got.stderr())
	}
	rbee(0, "pull", in)
	if got := rbee(0, "rm", repo).stdout(); got != repo+" is gone from localhost\n" {
		t.Errorf("rm: %s", got)
	}
	if list := blobs(w.home); len(list) != 0 {
		t.Errorf("after rm there are %v", list)
	}
	rbee(1, "rm", in)
	rbee(0, "gc")
	if got := w.rbeeFiles(); len(got) != 1 || got[0] != "models.db" {
		t.Errorf("~/.rbee has %v", got)
	}
}

// Files of one's own and of other programs are used where they are.
func TestModelImport(t *testing.T) {
	w := newWorld(t)
	own := filepath.Join(w.home, "own.gguf")
	theirs := filepath.Join(w.home, ".lmstudio", "models", "org", "tiny-GGUF", "tiny.Q8_0.gguf")
	for path, of := range map[string]string{own: "llama-256-q4_k_m.gguf", theirs: "llama-256-q8_0.gguf"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, model(t, of), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := w.start("rbee", "model", "import", own)
	r.expect(0)
	if r.stdout() != "file:"+own+"\n" {
		t.Errorf("import: %q", r.stdout())
	}
	r = w.start("rbee", "model", "import", "--from", "lmstudio", "--list")
	r.expect(0)
	if !strings.Contains(r.stdout(), theirs) {
		t.Errorf("import --list: %s", r.stdout())
	}
	r = w.start("rbee", "model", "import", "--from", "all")
	r.expect(0)
	ref := strings.TrimSuffix(r.stdout(), "\n")
	r = w.start("rbee", "model", "list", "--json")
	r.expect(0)
	var list api.Models
	if err := json.Unmarshal([]byte(r.stdout()), &list); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range list.Models {
		got[string(m.Ref)] = fmt.Sprint(m.Source, " ", m.Node)
	}
	if got["file:"+own] != "import localhost" || got[ref] != "lmstudio localhost" {
		t.Errorf("list: %v, with %s", got, ref)
	}
	w.start("rbee", "model", "import", "--from", "floppy").expect(2, "want huggingface, ollama, lmstudio or all")
	w.start("rbee", "model", "rm", "file:"+own).expect(0)
	if _, err := os.Stat(own); err != nil {
		t.Errorf("rm of a file in place: %v", err)
	}
}

// Two nodes are given a model by one command: from the hub once, and with it goes
// what the command has started there.
func TestPullToNodes(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	nodes, path := w.nodes("a", "b")
	env := append(h.env(), path)
	r := w.startEnv(env, "rbee", "model", "pull", repo, "--node", "a", "--node", "b")
	r.expect(0, "on a: complete", "on b: complete", "copying", "nothing left")
	if got, want := h.bytes(), tinyBytes; got != want {
		t.Errorf("%d bytes came from the hub, want %d", got, want)
	}
	var want strings.Builder
	for _, name := range []string{"a", "b"} {
		if list := blobs(nodes[name].home); len(list) == 1 {
			fmt.Fprintf(&want, "%s:%s\n", name, list[0])
		}
	}
	if r.stdout() != want.String() {
		t.Errorf("stdout %q, want %q", r.stdout(), want.String())
	}
	r = w.startEnv(env, "rbee", "model", "list", "--node", "b")
	r.expect(0, "nothing left")
	if !strings.Contains(r.stdout(), "hf:"+repo+":Q4_K_M") {
		t.Errorf("list: %s", r.stdout())
	}
	w.startEnv(env, "rbee", "model", "rm", repo, "--node", "b").expect(0)
	if a, b := blobs(nodes["a"].home), blobs(nodes["b"].home); len(a) != 1 || len(b) != 0 {
		t.Errorf("after rm --node b: a has %v, b has %v", a, b)
	}
}

// The host key of a node that was never met is asked for before a pull, as before an
// answer.
func TestPullHostKey(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	n := w.node()
	if err := os.Remove(n.sshd.Node.KnownHosts[0]); err != nil {
		t.Fatal(err)
	}
	pull := func(more ...string) *run {
		return w.startEnv(append(h.env(), n.path), "rbee", append([]string{"model", "pull", repo, "--node", "node"}, more...)...)
	}
	pull().expect(1, "fingerprint: "+fingerprint(t, n.sshd))
	r := pull("--accept-new")
	r.expect(0, "is known from now on", "complete")
	if !strings.HasPrefix(r.stdout(), "node:") {
		t.Errorf("stdout: %q", r.stdout())
	}
}

// Whatever a model is called, load and unload mean the same worker.
func TestLoadByName(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	aliases := filepath.Join(w.home, ".config", "rbee", "aliases.toml")
	if err := os.MkdirAll(filepath.Dir(aliases), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(aliases, []byte("[[model]]\nnames = [\"mine\"]\nref = \"hf:"+repo+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	q := w.queen(h.env())
	q.up("localhost")
	in := "hf:" + repo + ":Q4_K_M"
	for _, name := range []string{"mine", repo, in} {
		if got := q.ask("load", "mine", "--ctx", "128"); !strings.HasPrefix(got, in+" on localhost: worker ") {
			t.Errorf("load mine: %s", got)
		}
		if got := q.ask("unload", name); !strings.HasPrefix(got, in+" on localhost: worker ") {
			t.Errorf("unload %s: %s", name, got)
		}
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// Ctrl+C ends a pull and all that was started for it; what is there stays, is said,
// and the next pull goes on from there.
func TestPullGoesOn(t *testing.T) {
	w := newWorld(t)
	b, err := os.ReadFile(bigModel(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(t, repo, map[string][]byte{"big.Q8_0.gguf": b})
	half := int64(len(b) / 2)
	halted, _ := h.stopAt(half)
	at := w.terminal(100, append(h.env(), "NO_COLOR=1"), "model", "pull", repo)
	select {
	case <-halted:
	case <-time.After(w.patience):
		t.Fatal("the hub was not asked for so much")
	}
	at.untilFrame(" 9 MB of 18 MB")
	if _, err := at.keys.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	if got := at.wait(); got != 130 {
		t.Errorf("exit status %d, want 130", got)
	}
	for _, says := range []string{" are kept", "rbee model pull " + repo + " goes on from there", "nothing left"} {
		if got := strings.ReplaceAll(at.screen(), "\n", ""); !strings.Contains(got, says) {
			t.Errorf("it does not say %q: %s", says, at.screen())
		}
	}
	h.goOn()
	r := w.startEnv(h.env(), "rbee", "model", "pull", repo)
	r.expect(0, "complete")
	const ranges, noted = 4, 1 << 20 // of each range less than that is lost
	if more, most := h.bytes()-half, int64(len(b))-half+ranges*noted; more > most {
		t.Errorf("the second pull took %d bytes, want at most %d of %d", more, most, len(b))
	}
}
