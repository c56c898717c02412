package roles

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"rbee/core"
)

const repo = "org/tiny-GGUF"

// tinyHub has one model in two quantizations.
func tinyHub(t testing.TB) *hub {
	return newHub(t, map[string][]byte{
		repo + "/tiny.Q4_K_M.gguf": model(t, "llama-256-q4_k_m.gguf"),
		repo + "/tiny.Q8_0.gguf":   model(t, "llama-256-q8_0.gguf"),
	})
}

// A model of a hub is fetched once, said, and is there for the next answer.
func TestInferHub(t *testing.T) {
	w := newWorld(t)
	h := tinyHub(t)
	infer := func() *run {
		return w.startEnv(h.env(), "rbee", "infer", "--raw", "--temperature", "0", "--max-tokens", "5", "--model", repo, "a bee")
	}
	first := infer()
	first.expect(0, "Q4_K_M, the first of", "downloading hf:"+repo+":Q4_K_M (0.6 MB) from 127.0.0.1", "nothing left")
	if got, want := h.bytes(), int64(len(h.files[repo+"/tiny.Q4_K_M.gguf"])); got != want {
		t.Errorf("%d bytes came from the hub, want %d", got, want)
	}
	h.Close() // no network from here on
	second := infer()
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
	if got, want := h.bytes(), int64(len(h.files[repo+"/tiny.Q4_K_M.gguf"])); got != want {
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
	if n := strings.Count(q.stderr(), fmt.Sprintf("from=127.0.0.1:%s", h.URL[strings.LastIndex(h.URL, ":")+1:])); n != 1 {
		t.Errorf("%d times from the hub", n)
	}
}
