package roles

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"rbee/core"
	"rbee/core/api"
)

var update = flag.Bool("update", false, "rewrite testdata/screens")

// golden compares a text with a file of testdata, or writes that.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "screens", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

const (
	llama = core.ModelRef("tinyllama")
	qwen  = core.ModelRef("hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0")

	llamaInFull = core.ModelRef("hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M")
	llamaSize   = 668_788_000
	qwenSize    = 675_710_816
)

// A told is what a queen says of one of two pulls, and what is then seen.
type told struct {
	model core.ModelRef
	stage api.PullStage
	seen  string // of the line, on every board
}

// twoPulls is a story of two pulls to one node: one from the hub, which arrives, and
// one from another node, which does not.
var twoPulls = []told{
	{llama, api.PullStage{Stage: api.StageResolving, ModelRef: llamaInFull, Node: "mac", Note: "Q4_K_M, the first of Q4_K_M, Q5_K_M, Q4_0, Q8_0, F16 that fits"}, "that fits"},
	{qwen, api.PullStage{Stage: api.StageWaiting, ModelRef: qwen, Node: "box", Done: qwenSize / 8, Total: qwenSize}, "waiting for box, 12%"},
	{llama, api.PullStage{Stage: api.StageDownloading, Node: "mac", From: "huggingface.co", Done: 0, Total: llamaSize}, " 0%"},
	{llama, api.PullStage{Stage: api.StageDownloading, Node: "mac", From: "huggingface.co", Done: llamaSize/100*45 + 50, Total: llamaSize, BytesPerSecond: 12_345_678, ETAMS: 29_800}, "45%"},
	{qwen, api.PullStage{Stage: api.StageCopying, Node: "mac", From: "box", Done: qwenSize / 2, Total: qwenSize, BytesPerSecond: 108_000_000, ETAMS: 3_100}, "50%"},
	{llama, api.PullStage{Stage: api.StageDownloading, Node: "mac", From: "huggingface.co", Done: llamaSize/100*98 + 100, Total: llamaSize, BytesPerSecond: 950_000, ETAMS: 88_000}, "98%"},
	{llama, api.PullStage{Stage: api.StageVerifying, Node: "mac", Done: llamaSize, Total: llamaSize}, "100%"},
	{llama, api.PullStage{Stage: api.StageComplete, ModelRef: llamaInFull, Node: "mac", Done: llamaSize, Total: llamaSize, LocalPath: "/home/you/.local/share/rbee/models/9fec.gguf"}, "complete, 668 MB"},
	{qwen, api.FailedStage(&core.Fault{
		Kind: core.InsufficientDisk, What: "no room for 338 MB on mac", Try: "rbee model gc --node mac",
		Facts: []core.Fact{core.Number("available_bytes", 1000), core.Number("required_bytes", qwenSize/2)},
	}), "no room for"},
}

// What a person sees of it, at terminals of several widths.
func TestPullScreens(t *testing.T) {
	tests := map[string]struct {
		columns int
		env     []string
		colours bool
	}{
		"pull-40":  {40, nil, true},
		"pull-100": {100, nil, true},
		"pull-72":  {72, []string{"NO_COLOR=1"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, q := newWorld(t), newFakeQueen(t)
			at := w.terminal(tt.columns, tt.env, "model", "pull", string(llama), string(qwen), "--node", "mac", "--queen", q.url)
			pulls := q.pull(llama, qwen)
			var frames strings.Builder
			fmt.Fprintf(&frames, "=== begins\n%s", at.untilFrame("resolving"))
			for i, s := range twoPulls {
				pulls[s.model].say(s.stage)
				if i == len(twoPulls)-1 {
					break // there may be no frame after it
				}
				fmt.Fprintf(&frames, "=== %s: %s\n%s", s.model, s.stage.Stage, at.untilFrame(s.seen))
			}
			if got := at.wait(); got != 1 {
				t.Errorf("exit status %d, want 1", got)
			}
			fmt.Fprintf(&frames, "=== ended\n%s", at.screen())
			golden(t, name, frames.String())
			if at.coloured() != tt.colours {
				t.Errorf("coloured: %v, want %v", at.coloured(), tt.colours)
			}
		})
	}
}

// Where no terminal is, there are lines, and stdout holds the result alone.
func TestPullLines(t *testing.T) {
	tests := map[string][]string{"pipe": nil, "dumb terminal": {"TERM=dumb"}}
	for name, env := range tests {
		t.Run(name, func(t *testing.T) {
			w, q := newWorld(t), newFakeQueen(t)
			r := w.startEnv(env, "rbee", "model", "pull", string(llama), string(qwen), "--node", "mac", "--queen", q.url)
			pulls := q.pull(llama, qwen)
			for _, s := range twoPulls {
				before := len(r.stderr())
				pulls[s.model].say(s.stage)
				w.until("stderr says "+s.seen, func() bool { return strings.Contains(r.stderr()[before:], s.seen) })
			}
			r.expect(1)
			golden(t, "pull-pipe", r.stderr())
			if got := r.stdout(); got != "mac:/home/you/.local/share/rbee/models/9fec.gguf\n" {
				t.Errorf("stdout: %q", got)
			}
		})
	}
}

// Ctrl+C ends a pull, and says what is kept.
func TestPullInterrupted(t *testing.T) {
	w, q := newWorld(t), newFakeQueen(t)
	at := w.terminal(100, nil, "model", "pull", string(llama), "--queen", q.url)
	p := q.pull(llama)[llama]
	p.say(api.PullStage{Stage: api.StageDownloading, Node: core.Localhost, Done: 300_000_000, Total: llamaSize, BytesPerSecond: 1e6, ETAMS: 1e6})
	at.until("44%")
	if _, err := at.keys.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	if got := at.wait(); got != 130 {
		t.Errorf("exit status %d, want 130", got)
	}
	p.left()
	golden(t, "pull-interrupted", at.screen())
}

// With --json each stage is a line of stdout, and nothing else is there.
func TestPullJSON(t *testing.T) {
	w, q := newWorld(t), newFakeQueen(t)
	r := w.start("rbee", "model", "pull", string(llama), "--json", "--pin", "--queen", q.url)
	p := q.pull(llama)[llama]
	if want := (api.PullRequest{Model: llama, Pin: true}); p.body != want {
		t.Errorf("asked for %+v, want %+v", p.body, want)
	}
	want := []api.PullStage{
		{Stage: api.StageResolving, ModelRef: llamaInFull, Node: "mac"},
		{Stage: api.StageDownloading, ModelRef: llamaInFull, Node: "mac", Done: 5, Total: 10, BytesPerSecond: 5, ETAMS: 1000},
		{Stage: api.StageComplete, ModelRef: llamaInFull, Node: "mac", Done: 10, Total: 10, LocalPath: "/x.gguf"},
	}
	var lines strings.Builder
	for _, s := range want {
		p.say(s)
		if err := json.NewEncoder(&lines).Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	r.expect(0)
	if r.stdout() != lines.String() || r.stderr() != "" {
		t.Errorf("stdout: %s\nwant: %s\nstderr: %s", r.stdout(), &lines, r.stderr())
	}
}

// infer of a model that is not there yet shows the same bar while it waits.
func TestInferDownloads(t *testing.T) {
	moved := func(done, rate int64) *api.Comment {
		s := api.PullStage{Stage: api.StageDownloading, Done: done, Total: llamaSize, BytesPerSecond: rate}
		return &api.Comment{Text: s.Comment()}
	}
	story := []struct {
		ev   api.Event
		seen string // at a terminal
	}{
		{&api.Narration{Actor: "queen", Action: api.Download, Human: "downloading " + string(llamaInFull) + " to localhost"}, "to localhost"},
		{moved(0, 0), " 0%"},
		{moved(llamaSize/100*45+50, 12_345_678), " 30s"},
		{moved(llamaSize/100*46+50, 12_345_678), " 29s"},
		{moved(llamaSize/100*98+100, 12_345_678), " 1s"},
		{&api.Comment{Text: "verifying 100% (668788000 of 668788000 bytes, 0 bytes/s)"}, "verify"},
		{&api.Comment{Text: "loading 40%"}, "loading 40%"},
		{&api.Token{Text: "Hello", Channel: api.TextChannel}, "Hello"},
		{&api.End{StopReason: api.StopEOS}, ""},
	}
	args := func(q *fakeQueen) []string {
		return []string{"infer", "--model", "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M", "--prompt", "hi", "--queen", q.url}
	}
	for _, columns := range []int{40, 100} {
		t.Run(fmt.Sprint(columns, " columns"), func(t *testing.T) {
			w, q := newWorld(t), newFakeQueen(t)
			at := w.terminal(columns, []string{"NO_COLOR=1"}, args(q)...)
			s := q.asked(q.tasks)
			var screens strings.Builder
			for _, e := range story {
				s.event(e.ev)
				at.until(e.seen)
				if c, ok := e.ev.(*api.Comment); ok {
					fmt.Fprintf(&screens, "=== %s\n%s", c.Text, at.screen())
				}
			}
			if got := at.wait(); got != 0 {
				t.Errorf("exit status %d", got)
			}
			fmt.Fprintf(&screens, "=== ended\n%s", at.screen())
			golden(t, fmt.Sprintf("infer-%d", columns), screens.String())
		})
	}
	t.Run("pipe", func(t *testing.T) {
		w, q := newWorld(t), newFakeQueen(t)
		r := w.start("rbee", args(q)...)
		s := q.asked(q.tasks)
		for _, e := range story {
			s.event(e.ev)
		}
		r.expect(0)
		golden(t, "infer-pipe", r.stderr())
		if r.stdout() != "Hello" {
			t.Errorf("stdout: %q", r.stdout())
		}
	})
}

// A stream that breaks off without a last stage is an error.
func TestPullCut(t *testing.T) {
	w, q := newWorld(t), newFakeQueen(t)
	r := w.start("rbee", "model", "pull", string(llama), "--queen", q.url)
	p := q.pull(llama)[llama]
	p.say(api.PullStage{Stage: api.StageDownloading, Done: 5, Total: 10})
	close(p.next)
	r.expect(1, "cut off")
	if r.stdout() != "" {
		t.Errorf("stdout: %q", r.stdout())
	}
}

// What the other commands of models ask, and what they say.
func TestModelCommands(t *testing.T) {
	used := time.Now().Add(-73 * time.Hour)
	models := api.Models{Models: []api.Model{
		{Ref: qwen, Node: "mac", SizeBytes: qwenSize, Quantization: "Q8_0", Uses: 3, UsedAt: used, Pinned: true, InUse: true},
		{Ref: llamaInFull, Node: "box", SizeBytes: llamaSize, Quantization: "Q4_K_M"},
	}}
	details := api.Models{Models: []api.Model{{
		Ref: llamaInFull, Node: "mac", SizeBytes: llamaSize, Architecture: "llama", Quantization: "Q4_K_M", Parameters: 1_100_048_384, Source: "hub", Revision: "52e7645",
		Files: []api.ModelFile{{Name: "a.gguf", Path: "/m/a.gguf", SHA256: "9fec"}},
	}}}
	tests := map[string]struct {
		args   []string
		route  string
		answer any
		query  string // that the queen got
		body   string
		status int
		out    []string // lines of stdout
		err    []string // in stderr
	}{
		"list": {
			args: []string{"list"}, route: "GET /v2/models", answer: models,
			out: []string{
				"NODE  MODEL                                             SIZE    QUANT   USED",
				"mac   hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0           675 MB  Q8_0    3 days ago  pinned, in use",
				"box   hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M  668 MB  Q4_K_M  never",
			},
		},
		"list of a node": {args: []string{"list", "--node", "mac"}, route: "GET /v2/models", answer: api.Models{}, query: "node=mac", out: []string{"NODE  MODEL  SIZE  QUANT  USED"}, err: []string{"no other models are there"}},
		"show": {
			args: []string{"show", "tinyllama", "--node", "mac"}, route: "GET /v2/models/{ref}", answer: details, query: "node=mac",
			out: []string{
				"model         hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M", "node          mac", "size          668 MB", "architecture  llama",
				"quantization  Q4_K_M", "parameters    1.1 billion", "source        hub", "revision      52e7645", "used          0 times, never",
				"file          /m/a.gguf", "sha256        9fec",
			},
		},
		"show nothing": {args: []string{"show"}, status: 2, err: []string{"want one model", "rbee model show MODEL"}},
		"rm": {
			args: []string{"rm", "tinyllama"}, route: "DELETE /v2/models/{ref}", answer: api.Removed{Nodes: []core.NodeName{"localhost"}}, query: "node=localhost",
			out: []string{"tinyllama is gone from localhost"},
		},
		"rm everywhere": {
			args: []string{"rm", "tinyllama", "--all-nodes"}, route: "DELETE /v2/models/{ref}", query: "", status: 1,
			answer: api.Removed{Nodes: []core.NodeName{"box"}, Errors: []api.NodeError{{Node: "mac", Code: core.WorkerBusy, Error: "a worker uses it", Try: "rbee unload tinyllama"}}},
			out:    []string{"tinyllama is gone from box"}, err: []string{"mac: a worker uses it", "Try: rbee unload tinyllama"},
		},
		"rm of both": {args: []string{"rm", "x/y", "--all-nodes", "--node", "mac"}, status: 2, err: []string{"--node with --all-nodes"}},
		"rm nothing": {args: []string{"rm"}, status: 2, err: []string{"want a model"}},
		"gc": {
			args: []string{"gc", "--dry-run"}, route: "POST /v2/models/gc", body: `{"dry_run":true}`,
			answer: api.Collection{Removed: []api.Collected{{Path: "/m/x.partial", SizeBytes: 5_000_000, Why: "the rest of a download of 12 days ago", Node: "mac"}}},
			out:    []string{"mac  5 MB  /m/x.partial  the rest of a download of 12 days ago"}, err: []string{"1 file, 5 MB, would be removed"},
		},
		"import": {
			args: []string{"import", "/m/a.gguf"}, route: "POST /v2/models/import", body: `{"path":"/m/a.gguf","keep":true}`, answer: api.Model{Ref: "file:/m/a.gguf"},
			out: []string{"file:/m/a.gguf"},
		},
		"import nothing": {args: []string{"import"}, status: 2, err: []string{"want files, or --from"}},
		"found": {
			args: []string{"import", "--from", "ollama", "--list"}, route: "GET /v2/models/found", query: "from=ollama",
			answer: api.Found{Models: []api.FoundModel{{From: "ollama", Name: "gemma3:270m", Path: "/o/blobs/sha256-1", SizeBytes: 292_000_000}}},
			out:    []string{"ollama  gemma3:270m  292 MB  /o/blobs/sha256-1"},
		},
		"nothing found": {args: []string{"import", "--from", "all"}, route: "GET /v2/models/found", answer: api.Found{}, query: "from=all", err: []string{"no models of huggingface, ollama and lmstudio"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, q := newWorld(t), newFakeQueen(t)
			if tt.route != "" {
				q.mux.HandleFunc(tt.route, func(out http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					if r.URL.RawQuery != tt.query || string(body) != tt.body {
						t.Errorf("asked %s?%s %s, want ?%s %s", r.URL.Path, r.URL.RawQuery, body, tt.query, tt.body)
					}
					_ = json.NewEncoder(out).Encode(tt.answer)
				})
			}
			r := w.start("rbee", append(append([]string{"model"}, tt.args...), "--queen", q.url)...)
			r.expect(tt.status, tt.err...)
			var got []string
			for line := range strings.Lines(r.stdout()) {
				got = append(got, strings.TrimRight(line, " \n"))
			}
			if !slices.Equal(got, tt.out) {
				t.Errorf("stdout\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.out, "\n"))
			}
		})
	}
}

func TestModelListJSON(t *testing.T) {
	w, q := newWorld(t), newFakeQueen(t)
	want := api.Models{Models: []api.Model{{Ref: qwen, Node: "mac", SizeBytes: qwenSize, UsedAt: time.Now().UTC().Round(0)}}}
	q.answer("GET /v2/models", want)
	r := w.start("rbee", "model", "list", "--json", "--queen", q.url)
	r.expect(0)
	var got api.Models
	if err := json.Unmarshal([]byte(r.stdout()), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
}

// Each model's outcome is a line, and one that is damaged is a failure.
func TestModelVerify(t *testing.T) {
	w, q := newWorld(t), newFakeQueen(t)
	q.mux.HandleFunc("POST /v2/models/verify", func(out http.ResponseWriter, _ *http.Request) {
		s := api.NewStream(out)
		for _, v := range []api.VerifyStage{
			{Stage: api.VerifyReading, ModelRef: qwen, Node: "mac", Done: 1, Total: 2},
			{Stage: api.VerifyGood, ModelRef: qwen, Node: "mac", Done: 2, Total: 2},
			{Stage: api.VerifyDamaged, ModelRef: llamaInFull, Node: "mac", Error: "a.gguf is not what it was"},
		} {
			b, _ := json.Marshal(v)
			_ = s.Data(b)
		}
		_ = s.Done()
	})
	r := w.start("rbee", "model", "verify", "--queen", q.url)
	r.expect(1, "Qwen2.5-0.5B-Instruct-GGUF:Q8_0 on mac: verifying, 50%", "1 of 2 models are not what they were", "a.gguf is not what it was", "Try: rbee model pull "+string(llamaInFull))
	if want := fmt.Sprintf("%s on mac: good\n%s on mac: damaged\n", qwen, llamaInFull); r.stdout() != want {
		t.Errorf("stdout %q, want %q", r.stdout(), want)
	}
}
