package roles

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rbee/core/api"
)

// benchKeys are those of a result, in their order: first llama-bench's, then ours.
var benchKeys = []string{
	"model_filename", "model_type", "n_params", "model_size", "n_prompt", "n_gen", "n_depth", "n_threads", "backend", "avg_ts", "stddev_ts", "samples_ts",
	"gb_per_s", "read_gb_per_s", "read_share", "gops", "int8_gops", "int8_share", "cpu", "kernel_class", "kernel_path",
}

// keysOf are the keys of a JSON object without others inside, in their order.
func keysOf(t *testing.T, object json.RawMessage) (keys []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(object))
	for depth, key := 0, true; ; {
		tok, err := d.Token()
		if err != nil {
			return keys
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
			continue
		case json.Delim('}'), json.Delim(']'):
			depth--
		default:
			if depth == 1 && key {
				keys, key = append(keys, tok.(string)), false
				continue
			}
		}
		key = depth == 1
	}
}

// sane checks what can be said of a result whatever the machine does meanwhile.
func sane(t *testing.T, r api.BenchRow) {
	t.Helper()
	if !(r.Mean > 0) || !(r.ReadGBps > 0) || !(r.Int8GOPS > 0) || r.ReadShare < 0 || r.ReadShare > 1.3 || r.Int8Share < 0 || r.Int8Share > 1.3 {
		t.Errorf("figures: %+v", r)
	}
	if prompt := r.Prompt > 0; prompt != (r.GOPS > 0) || prompt == (r.GBps > 0) || prompt != (r.Int8Share > 0) {
		t.Errorf("of a prompt the operations count, of a generation the bytes: %+v", r)
	}
	if r.ReadShare != 0 {
		t.Errorf("the embedded model lies in the caches, and has a share of %g", r.ReadShare)
	}
	if r.CPU == "" || r.KernelClass == "" || !slices.Contains([]string{"avx512vnni", "avx2", "generic"}, r.KernelPath) {
		t.Errorf("machine: %+v", r)
	}
}

func TestWorkerBenchJSON(t *testing.T) {
	w := newWorld(t)
	b := w.start("rbee", "worker", "bench", "-p", "8", "-n", "4", "-r", "2", "-o", "json")
	b.expect(0)
	var objects []json.RawMessage
	if err := json.Unmarshal([]byte(b.stdout()), &objects); err != nil || len(objects) != 2 {
		t.Fatalf("%v: %s", err, b.stdout())
	}
	for _, o := range objects {
		if got := keysOf(t, o); !slices.Equal(got, benchKeys) {
			t.Errorf("keys %v, want %v", got, benchKeys)
		}
		var row api.BenchRow
		if err := json.Unmarshal(o, &row); err != nil {
			t.Fatal(err)
		}
		sane(t, row)
	}
}

// All roles take part, and are gone afterwards.
func TestBench(t *testing.T) {
	w := newWorld(t)
	b := w.start("rbee", "bench", "-p", "8", "-n", "4", "-r", "1", "-t", "1,2")
	b.expect(0, "localhost: measuring embedded", "nothing left")
	for _, want := range []string{
		`localhost +\S.* +1 +\d+\.\d GB/s +\d+ GOPS +cpu-\d+ on \w+`, `localhost +\S.* +2 +\d+\.\d GB/s`,
		`localhost +llama .* +1 +pp8 +\d+\.\d\d ± 0\.00 +– +– +\d+\.\d +\d+(\.\d)? %`, `localhost +llama .* +2 +tg4 +\d+\.\d\d ± 0\.00 +\d+\.\d\d +– +– +–`,
	} {
		if !regexp.MustCompile(want).MatchString(b.stdout()) {
			t.Errorf("no %s in %s", want, b.stdout())
		}
	}
	if left := w.procs(""); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Through a queen that runs; every result has its node first.
func TestBenchAllNodes(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	out := q.ask("bench", "--all-nodes", "--json", "-p", "8", "-n", "4", "-r", "1")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %s", out)
	}
	for _, line := range lines {
		if got := keysOf(t, json.RawMessage(line)); !slices.Equal(got, append([]string{"node"}, benchKeys...)) {
			t.Errorf("keys %v", got)
		}
		var row struct {
			Node string `json:"node"`
			api.BenchRow
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Node != "localhost" || row.File != "embedded" {
			t.Errorf("%v: %s", err, line)
		}
		sane(t, row.BenchRow)
	}
	r := w.start("rbee", "bench", "--node", "localhost", "nowhere/model", "--queen", q.url)
	r.expect(1)
	if r.stdout() != "" {
		t.Errorf("stdout: %q", r.stdout())
	}
}

// long is a measurement that nobody waits for.
var long = []string{"bench", "-p", "0", "-n", "400", "-r", "1000"}

// One measurement waits for the other; Ctrl+C ends it, and lets the other begin.
func TestBenchTurns(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	q.up("localhost")
	first := w.start("rbee", append(long, "--queen", q.url)...)
	w.until("it is listed as busy", func() bool {
		list := q.workers()
		return len(list) == 1 && list[0].State == api.Busy && strings.HasPrefix(string(list[0].ID), "bench-")
	})
	proc := w.proc("llm-worker-rbee")
	second := w.start("rbee", "bench", "-p", "8", "-n", "0", "-r", "1", "--queen", q.url)
	w.until("the second one waits", func() bool { return strings.Contains(second.stderr(), "another measurement is under way") })
	signal(t, command{first.cmd.Process}, syscall.SIGINT)
	first.expect(130)
	second.expect(0)
	if !strings.Contains(second.stdout(), "pp8") || proc.Alive() {
		t.Errorf("the first one lives: %v; the second one: %s", proc.Alive(), second.stdout())
	}
	w.until("no measurement is listed", func() bool { return len(q.workers()) == 0 })
}

// What is beside a measurement is said.
func TestBenchBeside(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	q.up("localhost")
	model := bigModel(t, 2)
	task := q.begin(q.imported(model), 2000)
	b := w.start("rbee", "bench", "-p", "8", "-n", "0", "-r", "1", "--queen", q.url)
	b.expect(0, "localhost: not alone: worker "+string(q.workers()[0].ID)+" is busy")
	w.start("rbee", "unload", model, "--force", "--queen", q.url).expect(0)
	<-task
}

// A measurement dies with its hive, however that dies.
func TestBenchDiesWithHive(t *testing.T) {
	w := newWorld(t)
	b := w.start("rbee", long...)
	bench, hive := w.proc("llm-worker-rbee"), w.proc("rbee-hive")
	if err := hive.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.expect(1)
	if bench.Alive() {
		t.Error("it lives on")
	}
}

// On other machines, too, and on all of them at once: what cannot be measured has a
// line of its own, and is the command's failure.
func TestBenchOverSSH(t *testing.T) {
	w := newWorld(t)
	n := w.node()
	alone := w.startEnv([]string{n.path}, "rbee", "bench", "--node", "node", "-p", "8", "-n", "0", "-r", "1", abs(t, guide))
	alone.expect(0, "hive up on node", "copying ", "hive and 0 workers on node", "nothing left")
	if !regexp.MustCompile(`(?m)^node +llama .* pp8 `).MatchString(alone.stdout()) {
		t.Errorf("stdout: %s", alone.stdout())
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(w.home, ".config", "rbee"), 0o700), os.WriteFile(filepath.Join(w.home, ".config", "rbee", "config.toml"),
		[]byte("[node.node]\n[node.nowhere]\nhost = \"127.0.0.1\"\nport = 1\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	all := w.startEnv([]string{n.path}, "rbee", "bench", "--all-nodes", "-p", "8", "-n", "0", "-r", "1")
	all.expect(1, "not every node could be measured", "  nowhere: ", "nothing left")
	for _, node := range []string{"localhost", "node"} {
		if !regexp.MustCompile(`(?m)^` + node + ` +llama .* pp8 `).MatchString(all.stdout()) {
			t.Errorf("%s is not in %s", node, all.stdout())
		}
	}
	if left := w.procs(""); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
