package roles

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/lease"
)

var urlInLog = regexp.MustCompile(`msg="(?:hive|worker) up".* url=(\S+)`)

// hive starts an operator's hive on a port of its own.
func (w *world) hive(env []string, args ...string) (r *run, url string) {
	w.t.Helper()
	r = w.startEnv(env, "rbee-hive", append([]string{"daemon", "--listen", "127.0.0.1:0"}, args...)...)
	w.until("the hive is up", func() bool { return urlInLog.MatchString(r.stderr()) })
	return r, urlInLog.FindStringSubmatch(r.stderr())[1]
}

// worker spawns a worker, waits until it is in a state, and returns it with a client.
func (w *world) worker(hive *client.Client, token string, r api.SpawnRequest, want api.WorkerState) (api.Worker, *client.Client) {
	w.t.Helper()
	s, err := hive.Spawn(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	var v api.Worker
	w.until("worker "+string(s.WorkerID)+" is "+string(want), func() bool {
		list, err := hive.Workers(w.t.Context())
		for _, v = range list.Workers {
			if v.ID == s.WorkerID && v.State == want {
				return true
			}
		}
		return err != nil
	})
	port := v.URL[strings.LastIndex(v.URL, ":"):]
	return v, client.New("http://127.0.0.1"+port, client.Options{Token: token})
}

// held is a lease by HTTP.
func held(t *testing.T, hive *client.Client, id string, b lease.Boot) (end func()) {
	t.Helper()
	r, w := io.Pipe()
	ctx, cut := context.WithCancel(context.Background())
	t.Cleanup(cut)
	go func() {
		if h, err := lease.Hold(w, b); err == nil {
			_ = h.Beat(ctx, 5e9)
		}
	}()
	taken, err := hive.Lease(ctx, id, r)
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = w.Close(); _ = taken.Close(); cut() }
}

func executed(job, prompt string, most int) api.ExecuteRequest {
	zero := 0.0
	return api.ExecuteRequest{JobID: core.TaskID(job), TaskRequest: api.TaskRequest{Prompt: &prompt, MaxTokens: &most, Temperature: &zero}}
}

// What a hive is asked is checked before anything is started.
func TestHiveRefuses(t *testing.T) {
	w := newWorld(t)
	h, url := w.hive(nil)
	for body, want := range map[string]string{
		`{"model_ref":"embedded","context_length":-5,"slots":-3,"threads":2000}`: `"field":"context_length".*"field":"slots".*"field":"threads"`,
		`{"model_ref":"embedded","slots":100000}`:                                `"field":"slots"`,
		`{"model_ref":"embedded","lease_id":"nobodys"}`:                          `lease nobodys is not held here`,
	} {
		resp, err := http.Post(url+"/v1/workers/spawn", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || !regexp.MustCompile(want).Match(b) {
			t.Errorf("%s: %s %s", body, resp.Status, b)
		}
	}
	resp, err := http.Post(url+"/v1/shutdown", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("shutdown by a form: %s", resp.Status)
	}
	if err := client.New(url, client.Options{}).Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	h.expect(0)
}

// Why a model cannot be loaded is told to whoever asks, however late.
func TestFailedLoadIsTold(t *testing.T) {
	whole, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "lamma.gguf")
	if err := os.WriteFile(file, bytes.Replace(whole, []byte("llama"), []byte("lamma"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	h, url := w.hive(nil)
	hive := client.New(url, client.Options{})
	if _, err := hive.HiveImport(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	v, worker := w.worker(hive, "", api.SpawnRequest{ModelRef: core.ModelRef("file:" + file)}, api.Failed)
	if !strings.HasPrefix(v.Error, `architecture "lamma" is not supported, only: `) {
		t.Errorf("the hive says %q", v.Error)
	}
	var last api.LoadStage
	for stage, err := range worker.Progress(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		last = *stage
	}
	if last.Stage != "failed" || last.Code != core.Unsupported || last.Error != v.Error || last.Try == "" {
		t.Errorf("the worker says %+v", last)
	}
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.expect(143)
}

// On SIGTERM new work is refused and an answer under way comes to its end.
func TestHiveDrains(t *testing.T) {
	w := newWorld(t)
	file := bigModel(t, 2)
	h, url := w.hive(nil)
	hive := client.New(url, client.Options{})
	if _, err := hive.HiveImport(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	_, worker := w.worker(hive, "", api.SpawnRequest{ModelRef: core.ModelRef("file:" + file), Slots: 2}, api.Idle)
	var end *api.End
	tokens := 0
	for ev, err := range worker.Execute(t.Context(), executed("long", "a b c", 1500)) {
		if err != nil {
			t.Fatal(err)
		}
		switch ev := ev.Event.(type) {
		case *api.Token:
			if tokens++; tokens == 1 {
				if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				w.until("the hive refuses", func() bool {
					_, err := hive.Spawn(t.Context(), api.SpawnRequest{ModelRef: core.Embedded, ContextLength: 64, Slots: 1})
					return errors.Is(err, core.ShuttingDown)
				})
				w.until("the worker refuses", func() bool {
					for _, err := range worker.Execute(t.Context(), executed("late", "a", 1)) {
						return errors.Is(err, core.ShuttingDown)
					}
					return false
				})
			}
		case *api.End:
			end = ev
		}
	}
	if end == nil || end.StopReason != api.StopMaxTokens {
		t.Errorf("the answer under way ended as %+v", end)
	}
	h.expect(143)
}

// An operator's hive that an ephemeral queen borrows lives on; one that a
// persistent queen holds is of her pool and ends with her.
func TestHiveEndsWithItsPool(t *testing.T) {
	w := newWorld(t)
	h, url := w.hive([]string{"RBEE_LIMITS_EOF_GRACE=0"})
	hive := client.New(url, client.Options{})
	end := held(t, hive, "one", lease.Boot{Token: "secret", Node: "mac", Mode: core.Ephemeral})
	v, _ := w.worker(hive, "secret", api.SpawnRequest{ModelRef: core.Embedded, LeaseID: "one", ContextLength: 64, Slots: 1}, api.Idle)
	if !strings.HasPrefix(v.URL, "http://mac:") {
		t.Errorf("the worker's URL is %s, the lease calls the node mac", v.URL)
	}
	end()
	w.until("the worker ends with its lease", func() bool { return len(w.procs("llm-worker-rbee")) == 0 })
	if _, err := hive.Health(t.Context()); err != nil {
		t.Errorf("the borrowed hive has ended, too: %v", err)
	}
	end = held(t, hive, "two", lease.Boot{Mode: core.Persistent})
	w.worker(hive, "", api.SpawnRequest{ModelRef: core.Embedded, LeaseID: "two", ContextLength: 64, Slots: 1}, api.Idle)
	end()
	h.expect(0)
}

// The token of a lease is good for the workers of that lease, and for nothing else.
func TestLeaseToken(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("of-the-hive"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, url := w.hive(nil, "--token-file", file)
	operator, queen := client.New(url, client.Options{Token: "of-the-hive"}), client.New(url, client.Options{Token: "of the lease"})
	if _, err := queen.Workers(t.Context()); !errors.Is(err, core.InvalidAPIKey) {
		t.Errorf("before there is a lease: %v", err)
	}
	defer held(t, operator, "one", lease.Boot{Token: "of the lease"})()
	small := api.SpawnRequest{ModelRef: core.Embedded, ContextLength: 64, Slots: 1}
	other, _ := w.worker(operator, "of-the-hive", small, api.Idle)
	w.worker(queen, "of the lease", small, api.Idle) // whose callback has the lease's token, too
	if list, err := queen.Workers(t.Context()); err != nil || len(list.Workers) != 1 {
		t.Errorf("workers of the lease: %+v, %v", list, err)
	}
	if err := queen.DeleteWorker(t.Context(), other.ID); err != nil { // as one that is not there
		t.Error(err)
	}
	if list, err := operator.Workers(t.Context()); err != nil || len(list.Workers) != 2 {
		t.Errorf("all workers: %+v, %v", list, err)
	}
	if err := queen.Shutdown(t.Context()); !errors.Is(err, core.InvalidAPIKey) {
		t.Errorf("a shutdown by the lease's token: %v", err)
	}
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.expect(143)
}

// A worker that nobody uses ends; the receipt has the hash as soon as it is known.
func TestIdleEndAndHash(t *testing.T) {
	w := newWorld(t)
	h, url := w.hive(nil, "--idle-timeout", "1s")
	hive := client.New(url, client.Options{})
	file := abs(t, guide)
	if _, err := hive.HiveImport(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	_, worker := w.worker(hive, "", api.SpawnRequest{ModelRef: core.ModelRef("file:" + file), Slots: 1}, api.Idle)
	r := executed("a", "hello", 1)
	r.Raw = true
	w.until("the receipt has the hash", func() bool {
		for ev, err := range worker.Execute(t.Context(), r) {
			if err != nil {
				t.Fatal(err)
			}
			if end, ok := ev.Event.(*api.End); ok && end.Receipt.ModelSHA256 != nil {
				b, _ := json.Marshal(end.Receipt)
				return len(*end.Receipt.ModelSHA256) == 64 || len(b) == 0
			}
		}
		return false
	})
	w.until("the idle worker ends", func() bool { return len(w.procs("llm-worker-rbee")) == 0 })
	if err := h.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	h.expect(130)
}

// A worker by hand, where one wants it.
func TestWorkerPort(t *testing.T) {
	w := newWorld(t)
	r := w.start("llm-worker-rbee", "serve", "--port", "0")
	w.until("the worker is up", func() bool { return urlInLog.MatchString(r.stderr()) })
	if url := urlInLog.FindStringSubmatch(r.stderr())[1]; strings.HasSuffix(url, ":8001") {
		t.Errorf("asked for any port, got %s", url)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r.expect(143)
}

// A full disk is no reader who left.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var says bytes.Buffer
	cmd := exec.Cmd{Path: exe, Args: []string{"rbee", "worker", "run", "--prompt", "The hive", "--max-tokens", "3"}, Env: w.env(), Stdout: full, Stderr: &says}
	if err := cmd.Run(); err == nil || !strings.Contains(says.String(), "no space left") {
		t.Errorf("on a full disk: %v, %s", err, says.String())
	}
}
