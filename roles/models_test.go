package roles

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
)

const (
	repo      = "org/tiny-GGUF"
	tinyBytes = int64(626_464) // bytes of its Q4_K_M
)

// tinyHub has one model in two quantizations.
func tinyHub(t testing.TB) *hub {
	return newHub(t, repo, map[string][]byte{"tiny.Q4_K_M.gguf": model(t, "llama-256-q4_k_m.gguf"), "tiny.Q8_0.gguf": model(t, "llama-256-q8_0.gguf")})
}

// A model of a hub is fetched once, said, and is there for the next answer.
func TestInferHub(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	infer := func(env []string) *run {
		return w.startEnv(env, "rbee", "infer", "--raw", "--temperature", "0", "--max-tokens", "5", "--model", repo, "a bee")
	}
	first := infer(h.env())
	first.expect(0, "Q4_K_M, the first of", "downloading hf:"+repo+":Q4_K_M (0.6 MB) from 127.0.0.1", "nothing left")
	if got, want := h.bytes(), tinyBytes; got != want {
		t.Errorf("%d bytes came from the hub, want %d", got, want)
	}
	second := infer([]string{"HF_ENDPOINT=http://127.0.0.1:1"}) // where nobody is
	second.expect(0)
	if second.stdout() != first.stdout() || first.stdout() == "" || strings.Contains(second.stderr(), "downloading") {
		t.Errorf("again: %q, before: %q; %s", second.stdout(), first.stdout(), second.stderr())
	}
}

// The pool's whole way: a persistent queen, a name without a quantization and one
// with it share a worker.
func TestOneWorkerForNames(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	q := w.queen(h.env())
	q.up("localhost")
	want := q.text(fields{"model": repo, "raw": true})
	if got := q.text(fields{"model": "hf:" + repo + ":q4_k_m", "raw": true}); got != want {
		t.Errorf("by its full name: %q, want %q", got, want)
	}
	if list := q.workers(); len(list) != 1 || string(list[0].ModelRef) != "hf:"+repo+":Q4_K_M" {
		t.Errorf("workers: %+v", list)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// While a model is on its way OpenAI's stream says so in comments.
func TestOpenAIDownload(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	_, _ = h.stopAt(100_000)
	q := w.queen(h.env())
	q.up("localhost")
	body := strings.NewReader(`{"model":"` + repo + `","stream":true,"max_tokens":2,"temperature":0,"messages":[{"role":"user","content":"a bee"}]}`)
	r, err := http.Post(q.url+"/v1/chat/completions", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	said, done := false, false
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, ": downloading ") && !said {
			said = true
			h.goOn()
		} else if line == "data: [DONE]" {
			done = said
		}
	}
	if r.StatusCode != http.StatusOK || !done {
		t.Errorf("%s, said %t, done after that %t", r.Status, said, done)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// blobs are the models that a home has of its own.
func blobs(home string) []string {
	list, _ := filepath.Glob(filepath.Join(home, ".local", "share", "rbee", "models", "*.gguf"))
	return list
}

// Twenty tasks at once for a model that nobody has, on three nodes: it comes from the
// hub once, and twice from another node.
func TestOneDownloadForPool(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	nodes, path := w.nodes("a", "b")
	q := w.queen(append(h.env(), path), "--node", "a", "--node", "b")
	places := []core.NodeName{"localhost", "a", "b"}
	for _, node := range places {
		q.up(node)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			r := fields{"model": repo, "raw": true, "node": places[i%3], "max_tokens": 2}
			if i%2 == 0 {
				r["model"] = "hf:" + repo + ":Q4_K_M"
			}
			if got := q.post(r); got.status != 200 {
				t.Errorf("task %d: %d %s", i, got.status, got.body)
			}
		})
	}
	all.Wait()
	if got, want := h.bytes(), tinyBytes; got != want {
		t.Errorf("%d bytes came from the hub, want %d", got, want)
	}
	for name, home := range map[string]string{"here": w.home, "a": nodes["a"].home, "b": nodes["b"].home} {
		if list := blobs(home); len(list) != 1 {
			t.Errorf("%s: copies %v", name, list)
		}
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
	if n := strings.Count(q.stderr(), `msg="model fetched"`); n != 3 {
		t.Errorf("%d models fetched, want one for each node", n)
	}
	if n := strings.Count(q.stderr(), "from="+strings.TrimPrefix(h.URL, "http://")); n != 1 {
		t.Errorf("%d times from the hub", n)
	}
}

// A file of this machine in parts is copied to a node, once, and read there.
func TestPartsOverSSH(t *testing.T) {
	w := newWorld(t)
	n := w.node()
	q := w.queen([]string{n.path})
	model := q.imported(partedModel(t))
	want := q.text(fields{"model": model, "prompt": "a b c"})
	r := fields{"model": model, "prompt": "a b c", "node": "node"}
	if got := q.text(r); got != want || !strings.HasPrefix(got, "a") {
		t.Errorf("there: %q, here: %q", got, want)
	}
	parts, _ := filepath.Glob(filepath.Join(n.home, ".local", "share", "rbee", "models", "*.parts", "*.gguf"))
	if len(parts) != 2 {
		t.Errorf("parts on the node: %v", parts)
	}
	for _, p := range w.procs("llm-worker-rbee") {
		signal(t, p, syscall.SIGKILL)
	}
	if got := q.text(r); got != want {
		t.Errorf("again: %q, want %q", got, want)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
	if n := strings.Count(q.stderr(), `msg="model fetched"`); n != 1 {
		t.Errorf("copied %d times", n)
	}
}

// Who is offline runs what is here: the only model of a repository, whatever its
// quantization is, and what another program has fetched.
func TestOffline(t *testing.T) {
	w := newWorld(t)
	h := newHub(t, repo, map[string][]byte{"tiny.Q3_K_M.gguf": model(t, "llama-256-q4_k_m.gguf")})
	w.startEnv(h.env(), "rbee", "model", "pull", repo).expect(0)
	const commit = "1111111111111111111111111111111111111111"
	dir, content := filepath.Join(w.home, ".cache", "huggingface", "hub", "models--org--cached"), model(t, "llama-256-q8_0.gguf")
	blob := filepath.Join(dir, "blobs", fmt.Sprintf("%x", sha256.Sum256(content)))
	file := filepath.Join(dir, "snapshots", commit, "tiny.Q8_0.gguf")
	for _, d := range []string{filepath.Dir(blob), filepath.Dir(file), filepath.Join(dir, "refs")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(blob, content, 0o600), os.Symlink(blob, file), os.WriteFile(filepath.Join(dir, "refs", "main"), []byte(commit), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{repo, "org/cached"} {
		r := w.startEnv([]string{"HF_ENDPOINT=http://127.0.0.1:1"}, "rbee", "infer", "--raw", "--temperature", "0", "--max-tokens", "5", "--model", model, "a bee")
		r.expect(0, "which is here: the hub cannot be asked")
		if r.stdout() == "" {
			t.Errorf("%s: no answer", model)
		}
	}
	if list := blobs(w.home); len(list) != 1 {
		t.Errorf("of our own: %v", list)
	}
}

// pulled is the last stage of a pull, and all that were there.
func (q running) pulled(ctx context.Context, r api.PullRequest) (last api.PullStage, stages []string, err error) {
	q.w.t.Helper()
	for s, err := range q.client.Pull(ctx, r) {
		if s != nil {
			last = *s
			if len(stages) == 0 || stages[len(stages)-1] != s.Stage {
				stages = append(stages, s.Stage)
			}
		}
		if err != nil {
			return last, stages, err
		}
	}
	return last, stages, nil
}

// called gives a model a short name.
func (w *world) called(name, ref string) {
	w.t.Helper()
	dir := filepath.Join(w.home, ".config", "rbee")
	text := fmt.Sprintf("[[model]]\nnames = [%q]\nref = %q\n", name, ref)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "aliases.toml"), []byte(text), 0o600)); err != nil {
		w.t.Fatal(err)
	}
}

// A model is pulled by a short name, looked at, used, verified and removed.
func TestPull(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	q := w.queen(h.env())
	q.up("localhost")
	if _, _, err := q.pulled(t.Context(), api.PullRequest{Model: "mine"}); !errors.Is(err, core.ModelNotFound) {
		t.Errorf("an unknown name: %v", err)
	}
	w.called("mine", "hf:"+repo)
	list, err := q.client.Where(t.Context(), url.Values{"model": {"mine"}, "context_length": {"64"}})
	if err != nil || len(list.Candidates) != 1 || list.Candidates[0].OnDisk || list.Candidates[0].RequiredBytes == 0 || list.Candidates[0].Fits == nil {
		t.Errorf("where, before it is there: %+v, %v", list, err)
	}
	full := core.ModelRef("hf:" + repo + ":Q4_K_M")
	last, stages, err := q.pulled(t.Context(), api.PullRequest{Model: "mine", Pin: true})
	if err != nil || last.Stage != api.StageComplete || last.ModelRef != full || last.Node != "localhost" || last.LocalPath != blobs(w.home)[0] {
		t.Errorf("pull: %+v, %v", last, err)
	}
	if stages[0] != api.StageResolving || stages[len(stages)-1] != api.StageComplete || len(stages) < 3 {
		t.Errorf("stages: %v", stages)
	}
	before := h.bytes()
	if last, _, err := q.pulled(t.Context(), api.PullRequest{Model: "mine"}); err != nil || last.Stage != api.StageComplete || h.bytes() != before {
		t.Errorf("again: %+v, %v, %d bytes more", last, err, h.bytes()-before)
	}
	m, err := q.client.Show(t.Context(), "mine", "")
	if err != nil || len(m.Models) != 1 || m.Models[0].Ref != full || !m.Models[0].Pinned || m.Models[0].Revision != h.Commit(repo) || len(m.Models[0].Files) != 1 || m.Models[0].Source != "hub" {
		t.Errorf("show: %+v, %v", m, err)
	}
	q.text(fields{"model": "mine", "raw": true})
	if list, err := q.client.Where(t.Context(), url.Values{"model": {"mine"}}); err != nil || !list.Candidates[0].Loaded || !list.Candidates[0].OnDisk {
		t.Errorf("where, when it is loaded: %+v, %v", list, err)
	}
	if got := call(t, "GET", q.url+"/v1/models/mine", nil); got.status != 200 || !strings.Contains(got.body, string(full)) {
		t.Errorf("OpenAI's list, by its short name: %d %s", got.status, got.body)
	}
	gone, err := q.client.RemoveModel(t.Context(), "mine", "")
	if err != nil || len(gone.Nodes) != 0 || len(gone.Errors) != 1 || gone.Errors[0].Code != core.WorkerBusy {
		t.Errorf("removed while a worker has it: %+v, %v", gone, err)
	}
	if err := q.client.Unload(t.Context(), q.workers()[0].ID, true); err != nil {
		t.Fatal(err)
	}
	q.verifies(full, api.VerifyGood)
	w.until("it is not in use", func() bool {
		gone, err = q.client.RemoveModel(t.Context(), "mine", "localhost")
		return err == nil && len(gone.Nodes) == 1
	})
	if _, err := q.client.Show(t.Context(), full, ""); !errors.Is(err, core.ModelNotFound) {
		t.Errorf("show, when it is gone: %v", err)
	}
	if left := blobs(w.home); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if gone, err := q.client.RemoveModel(t.Context(), core.Embedded, ""); !errors.Is(err, core.Invalid) {
		t.Errorf("the embedded model removed: %+v, %v", gone, err)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// verifies checks what a verification says of a model.
func (q running) verifies(model core.ModelRef, want string) {
	q.w.t.Helper()
	var last api.VerifyStage
	for s, err := range q.client.Verify(q.w.t.Context(), api.VerifyRequest{Model: model}) {
		if err != nil {
			q.w.t.Fatal(err)
		}
		if s != nil {
			last = *s
		}
	}
	if last.Stage != want || last.ModelRef != model || last.Node != "localhost" {
		q.w.t.Errorf("verify: %+v, want %s", last, want)
	}
}

// A copy that is damaged is found out, put aside, collected, and fetched again.
func TestVerifyDamaged(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	q := w.queen(h.env())
	q.up("localhost")
	want := q.text(fields{"model": repo, "raw": true})
	full := core.ModelRef("hf:" + repo + ":Q4_K_M")
	signal(t, w.proc("llm-worker-rbee"), syscall.SIGKILL)
	path := blobs(w.home)[0]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	q.verifies(full, api.VerifyDamaged)
	l, err := q.client.Collect(t.Context(), api.CollectRequest{})
	if err != nil || len(l.Removed) != 1 || l.Removed[0].Path != path+".wrong" || l.Removed[0].SizeBytes != int64(len(b)) || l.Removed[0].Node != "localhost" {
		t.Errorf("collected: %+v, %v", l, err)
	}
	if got := q.text(fields{"model": repo, "raw": true}); got != want {
		t.Errorf("fetched again: %q, want %q", got, want)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// What the hub refuses or does not have is said before anything is fetched; a token of
// the queen's environment opens it on nodes, too, and is seen nowhere.
func TestHubRefuses(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	const token = "hf_sesame"
	n := w.node()
	closed := w.queen(append(h.env(), n.path))
	closed.up("localhost")
	refused := func(model core.ModelRef, want core.Kind) {
		t.Helper()
		if _, _, err := closed.pulled(t.Context(), api.PullRequest{Model: model}); !errors.Is(err, want) || core.FaultOf(err).Try == "" {
			t.Errorf("%s: %v, want %s and what to do", model, err, want)
		}
	}
	refused("org/other", core.ModelNotFound)
	refused(repo+":Q5_K_M", core.ModelNotFound)
	refused("a name", core.Invalid)
	refused("nobody-knows", core.ModelNotFound)
	h.Add("org/cut-GGUF", "cut.Q4_K_M.gguf", model(t, "llama-256-q4_k_m.gguf")[:300_000])
	refused("org/cut-GGUF", core.Unsupported)
	h.Want(token)
	refused(repo, core.ModelGated)
	signal(t, command{closed.cmd.Process}, syscall.SIGTERM)
	closed.expect(143)

	q := w.queen(append(h.env(), n.path, "HF_TOKEN="+token))
	q.text(fields{"model": repo, "raw": true, "node": "node"})
	if len(blobs(n.home)) != 1 || len(blobs(w.home)) != 0 {
		t.Errorf("blobs on the node %v, here %v", blobs(n.home), blobs(w.home))
	}
	for _, p := range w.procs("") {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
		if strings.Contains(string(args), token) || strings.Contains(string(env), "HOME="+n.home) && strings.Contains(string(env), token) {
			t.Errorf("pid %d shows the token: %q", p.PID, args)
		}
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
	if strings.Contains(q.stderr(), token) {
		t.Error("the log has the token")
	}
	if len(h.Leaks()) > 0 {
		t.Errorf("the token went elsewhere: %v", h.Leaks())
	}
}

// begun begins a task and returns its id. Its last event comes by the channel, and what
// its comments say of a download before that.
func (q running) begun(r api.TaskRequest) (_ core.TaskID, last <-chan api.Event, far <-chan api.PullStage) {
	q.w.t.Helper()
	prompt, zero := "a bee", 0.0
	r.Prompt, r.Temperature, r.Raw = &prompt, &zero, true
	id, ended, said := make(chan core.TaskID, 1), make(chan api.Event, 1), make(chan api.PullStage, 1000)
	go func() {
		var end api.Event
		for ev, err := range q.client.Task(q.w.t.Context(), r) {
			if err != nil {
				break
			}
			switch ev := ev.Event.(type) {
			case *api.Started:
				id <- ev.JobID
			case *api.Comment:
				if s, ok := api.ParseComment(ev.Text); ok {
					said <- s
				}
				continue
			}
			end = ev.Event
		}
		ended <- end
	}()
	return <-id, ended, said
}

// A task that is cancelled leaves the download to others who want it; when nobody
// does, it ends.
func TestCancelDownload(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	q := w.queen(h.env())
	q.up("localhost")
	halted, _ := h.stopAt(100_000)
	first, end, far := q.begun(api.TaskRequest{Model: repo})
	_, other, _ := q.begun(api.TaskRequest{Model: repo})
	<-halted
	if s := <-far; s.Stage != api.StageDownloading || s.Total != tinyBytes {
		t.Errorf("a comment says %+v", s)
	}
	if err := q.client.CancelTask(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if e, ok := (<-end).(*api.End); !ok || e.StopReason != api.StopCancelled {
		t.Errorf("the cancelled one ended with %+v", e)
	}
	h.goOn()
	if e, ok := (<-other).(*api.End); !ok || e.StopReason == api.StopCancelled {
		t.Errorf("the other one ended with %+v", e)
	}
	if got, want := h.bytes(), tinyBytes; got != want {
		t.Errorf("%d bytes came from the hub, want %d", got, want)
	}
	halted, left := h.stopAt(100_000)
	last, end, _ := q.begun(api.TaskRequest{Model: repo + ":Q8_0"})
	<-halted
	if err := q.client.CancelTask(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	<-left
	<-end
	h.goOn()

	ctx, cancel := context.WithCancel(t.Context())
	halted, left = h.stopAt(100_000)
	go func() { <-halted; cancel() }()
	if _, _, err := q.pulled(ctx, api.PullRequest{Model: repo + ":Q8_0"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a pull that was broken off: %v", err)
	}
	<-left
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// Models that nobody has used for long make room for others, within a cap; what is
// pinned or in use does not.
func TestEviction(t *testing.T) {
	w := newWorld(t)
	other, third := "org/other-GGUF", "org/third-GGUF"
	h := tinyHub(t)
	h.Add(other, "o.Q4_K_M.gguf", model(t, "mistral.gguf")) // 869,376 bytes
	h.Add(third, "t.Q4_K_M.gguf", model(t, "qwen3.gguf"))   // 813,152
	q := w.queen(append(h.env(), "RBEE_MODELS_MAX=1700kB"))
	q.up("localhost")
	pull := func(model string, pin bool) error {
		_, _, err := q.pulled(t.Context(), api.PullRequest{Model: core.ModelRef(model), Pin: pin})
		return err
	}
	have := func() string {
		m, err := q.client.PoolModels(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, one := range m.Models {
			if hub, ok := one.Ref.Hub(); ok {
				names = append(names, hub.Repo)
			}
		}
		return strings.Join(names, " ")
	}
	if err := errors.Join(pull(repo, false), pull(other, false), pull(third, false)); err != nil {
		t.Fatal(err)
	}
	if got, want := have(), other+" "+third; got != want {
		t.Errorf("after three: %s, want %s", got, want)
	}
	if err := pull(other, true); err != nil { // it is there, and pinned from now on
		t.Fatal(err)
	}
	q.text(fields{"model": third, "raw": true})
	if err := pull(repo, false); !errors.Is(err, core.InsufficientDisk) {
		t.Errorf("one pinned, one in use: %v", err)
	}
	if err := q.client.Unload(t.Context(), q.workers()[0].ID, true); err != nil {
		t.Fatal(err)
	}
	w.until("the worker has let go", func() bool { return pull(repo, false) == nil })
	if got, want := have(), other+" "+repo; got != want {
		t.Errorf("at last: %s, want %s", got, want)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// weights is a model that no two bytes of are foreseen, of some 9 MB for each layer.
func weights(t testing.TB, layers int) []byte {
	t.Helper()
	b, err := os.ReadFile(bigModel(t, layers))
	if err != nil {
		t.Fatal(err)
	}
	const head = 64 << 10 // of which bigModel needs less
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{1}), b[head:]); err != nil {
		t.Fatal(err)
	}
	return b
}

// A hive that is killed at any moment of a download loses little of it: the next one
// goes on where it was.
func TestHiveKilledInDownload(t *testing.T) {
	w := newWorld(t)
	whole := weights(t, 12)
	h := newHub(t, repo, map[string][]byte{"big.Q4_K_M.gguf": whole})
	const kills = 30
	size := int64(len(whole))
	random := rand.New(rand.NewPCG(6, uint64(os.Getpid())))
	here := int64(0)
	for i := range kills {
		halted, _ := h.stopAt(1 + random.Int64N(size/kills))
		hive, url := w.hive(h.env())
		if _, err := client.New(url, client.Options{}).Download(t.Context(), api.DownloadRequest{ModelRef: repo}); err != nil {
			t.Fatal(err)
		}
		<-halted
		signal(t, command{hive.cmd.Process}, syscall.SIGKILL)
		hive.wait()
		if n := w.bytesHere(); n < here {
			t.Errorf("after %d kills %d bytes are there, %d were before the last", i, n, here)
		} else {
			here = n
		}
		if done := blobs(w.home); len(done) > 0 {
			t.Fatalf("after kill %d the model is whole", i)
		}
		h.goOn()
	}
	hive, url := w.hive(h.env())
	before := h.bytes()
	c := client.New(url, client.Options{})
	d, err := c.Download(t.Context(), api.DownloadRequest{ModelRef: repo})
	if err != nil {
		t.Fatal(err)
	}
	var last api.PullStage
	for s, err := range c.DownloadProgress(t.Context(), d.ID) {
		if err != nil {
			t.Fatal(err)
		}
		if s != nil {
			last = *s
		}
	}
	b, err := os.ReadFile(last.LocalPath)
	if err != nil || sha256.Sum256(b) != sha256.Sum256(whole) {
		t.Errorf("what came: %+v, %d bytes, %v", last, len(b), err)
	}
	if got, want := h.bytes()-before, size-here; got < want || got > want+1<<20 || here == 0 { // what the killed ones had asked for may be counted late
		t.Errorf("the last one fetched %d bytes, %d were missing, %d were there", got, want, here)
	}
	t.Logf("%d kills cost %d bytes of %d", kills, h.bytes()-size, size)
	signal(t, command{hive.cmd.Process}, syscall.SIGTERM)
	hive.expect(143)
}

// bytesHere is what is there of a download that was broken off, as its state says.
func (w *world) bytesHere() (n int64) {
	w.t.Helper()
	list, _ := filepath.Glob(filepath.Join(w.home, ".local", "share", "rbee", "models", "*.partial.json"))
	if len(list) == 0 {
		return 0
	}
	var said struct {
		State struct{ Done []struct{ From, To int64 } }
	}
	b, err := os.ReadFile(list[0])
	if err == nil {
		err = json.Unmarshal(b, &said)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range said.State.Done {
		n += d.To - d.From
	}
	return n
}

// A disk without room refuses before anything comes, in numbers; room that models
// nobody uses take is made.
func TestDiskFull(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(w.home, ".local", "share", "rbee", "models")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1200k"); err != nil {
		t.Skipf("no disk of its own for this test: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	h := tinyHub(t)
	h.Add(repo, "tiny.Q5_K_M.gguf", model(t, "llama-256-q5_k_m.gguf"))       // 722,720 bytes
	h.Add("org/large-GGUF", "l.Q4_K_M.gguf", model(t, "llama-256-f16.gguf")) // 1,984,672
	q := w.queen(h.env())
	q.up("localhost")
	_, _, err := q.pulled(t.Context(), api.PullRequest{Model: "org/large-GGUF"})
	f := core.FaultOf(err)
	if !errors.Is(err, core.InsufficientDisk) || len(f.Facts) < 2 || f.Try == "" {
		t.Errorf("too large: %v, %+v", err, f)
	}
	for _, tag := range []string{":Q4_K_M", ":Q5_K_M"} {
		if _, _, err := q.pulled(t.Context(), api.PullRequest{Model: core.ModelRef(repo + tag)}); err != nil {
			t.Errorf("%s: %v", tag, err)
		}
	}
	if list := blobs(w.home); len(list) != 1 {
		t.Errorf("models %v, want the second alone", list)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// When the node goes from which a model is copied, it comes from elsewhere, and what
// was copied is not fetched again.
func TestSourceDies(t *testing.T) {
	w := newWorld(t)
	whole := weights(t, 8) // more than what lies in sockets on the way
	h := newHub(t, repo, map[string][]byte{"big.Q4_K_M.gguf": whole})
	nodes, path := w.nodes("a", "b")
	q := w.queen(append(h.env(), path, "RBEE_MODELS_BANDWIDTH=30MB"), "--node", "a", "--node", "b")
	for _, node := range []core.NodeName{"localhost", "a", "b"} {
		q.up(node)
	}
	if _, _, err := q.pulled(t.Context(), api.PullRequest{Model: repo, Node: "a"}); err != nil {
		t.Fatal(err)
	}
	size := int64(len(whole))
	var copied int64
	for s, err := range q.client.Pull(t.Context(), api.PullRequest{Model: repo, Node: "localhost"}) {
		if err != nil {
			t.Fatal(err)
		}
		if s == nil {
			continue
		}
		if s.Stage == api.StageCopying && s.From == "a" && s.Done > size/8 && copied == 0 {
			copied = s.Done
			if err := os.Remove(blobs(nodes["a"].home)[0]); err != nil {
				t.Fatal(err)
			}
			for _, p := range w.procs("rbee-hive") {
				env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
				if strings.Contains(string(env), "HOME="+nodes["a"].home+"\x00") {
					signal(t, p, syscall.SIGKILL)
				}
			}
		}
		if s.Final() && (s.Stage != api.StageComplete || s.LocalPath == "") {
			t.Errorf("last stage: %+v", s)
		}
	}
	if got := h.bytes() - size; copied == 0 || got == 0 || got > size-copied {
		t.Errorf("%d bytes had been copied, and then %d came from the hub, of %d", copied, got, size)
	}
	b, err := os.ReadFile(blobs(w.home)[0])
	if err != nil || sha256.Sum256(b) != sha256.Sum256(whole) {
		t.Errorf("what came: %d bytes, %v", len(b), err)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// Ctrl+C in a download leaves nothing but what has come, and the next one goes on there.
func TestInterruptedInfer(t *testing.T) {
	w := newWorld(t)
	whole, err := os.ReadFile(bigModel(t, 4))
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(t, repo, map[string][]byte{"big.Q4_K_M.gguf": whole})
	infer := func() *run {
		return w.startEnv(h.env(), "rbee", "infer", "--raw", "--max-tokens", "1", "--ctx", "64", "--model", repo, "a b c")
	}
	halted, left := h.stopAt(int64(len(whole)) * 3 / 4)
	first := infer()
	<-halted
	w.until("some of it is here", func() bool {
		list, _ := filepath.Glob(filepath.Join(w.home, ".local", "share", "rbee", "models", "*.partial"))
		return len(list) == 1
	})
	signal(t, command{first.cmd.Process}, syscall.SIGINT)
	first.expect(130, "downloading hf:"+repo)
	<-left
	w.until("nothing runs", func() bool { return len(w.procs("")) == 0 })
	h.goOn()
	before := h.bytes()
	infer().expect(0)
	if got := h.bytes() - before; got == 0 || got > int64(len(whole))*3/4 {
		t.Errorf("the second one fetched %d bytes of %d", got, len(whole))
	}
}

// A task whose hive is killed while it downloads gets its answer from the next hive,
// which goes on where the download was.
func TestHiveKilledUnderTask(t *testing.T) {
	w := newWorld(t)
	whole, err := os.ReadFile(bigModel(t, 4))
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(t, repo, map[string][]byte{"big.Q4_K_M.gguf": whole})
	q := w.queen(h.env())
	q.up("localhost")
	halted, left := h.stopAt(int64(len(whole)) * 3 / 4)
	one := 1
	_, end, _ := q.begun(api.TaskRequest{Model: repo, MaxTokens: &one, ContextLength: 64})
	<-halted
	signal(t, w.proc("rbee-hive"), syscall.SIGKILL)
	<-left
	before := h.bytes()
	h.goOn()
	if e, ok := (<-end).(*api.End); !ok || e.TokensOut != 1 {
		t.Errorf("the task ended with %+v", e)
	}
	if got := h.bytes() - before; got == 0 || got > int64(len(whole))*3/4 {
		t.Errorf("the second hive fetched %d bytes of %d", got, len(whole))
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}
