package roles

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	tiny = core.ModelRef("tinyllama")
	qwen = core.ModelRef("hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0")

	tinyInFull = core.ModelRef("hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M")
	tinySize   = 668_788_000
	qwenSize   = 675_710_816
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
	{tiny, api.PullStage{Stage: api.StageResolving, ModelRef: tinyInFull, Node: "mac", Note: "Q4_K_M, the first of Q4_K_M, Q5_K_M, Q4_0, Q8_0, F16 that fits"}, "that fits"},
	{qwen, api.PullStage{Stage: api.StageWaiting, ModelRef: qwen, Node: "box", Done: qwenSize / 8, Total: qwenSize}, "waiting for box, 12%"},
	{tiny, api.PullStage{Stage: api.StageDownloading, Node: "mac", From: "huggingface.co", Done: 0, Total: tinySize}, " 0%"},
	{tiny, api.PullStage{Stage: api.StageDownloading, Node: "mac", From: "huggingface.co", Done: tinySize/100*45 + 50, Total: tinySize, BytesPerSecond: 12_345_678, ETAMS: 29_800}, "45%"},
	{qwen, api.PullStage{Stage: api.StageCopying, Node: "mac", From: "box", Done: qwenSize / 2, Total: qwenSize, BytesPerSecond: 108_000_000, ETAMS: 3_100}, "50%"},
	{tiny, api.PullStage{Stage: api.StageDownloading, Node: "mac", From: "huggingface.co", Done: tinySize/100*98 + 100, Total: tinySize, BytesPerSecond: 950_000, ETAMS: 88_000}, "98%"},
	{tiny, api.PullStage{Stage: api.StageVerifying, Node: "mac", Done: tinySize, Total: tinySize}, "100%"},
	{tiny, api.PullStage{Stage: api.StageComplete, ModelRef: tinyInFull, Node: "mac", Done: tinySize, Total: tinySize, LocalPath: "/home/you/.local/share/rbee/models/9fec.gguf"}, "complete, 668 MB"},
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
			at := w.terminal(tt.columns, tt.env, "model", "pull", string(tiny), string(qwen), "--node", "mac", "--queen", q.url)
			pulls := q.pull(tiny, qwen)
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
			r := w.startEnv(env, "rbee", "model", "pull", string(tiny), string(qwen), "--node", "mac", "--queen", q.url)
			pulls := q.pull(tiny, qwen)
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
	at := w.terminal(100, nil, "model", "pull", string(tiny), "--queen", q.url)
	p := q.pull(tiny)[tiny]
	p.say(api.PullStage{Stage: api.StageDownloading, Node: core.Localhost, Done: 300_000_000, Total: tinySize, BytesPerSecond: 1e6, ETAMS: 1e6})
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
	r := w.start("rbee", "model", "pull", string(tiny), "--json", "--pin", "--queen", q.url)
	p := q.pull(tiny)[tiny]
	if want := (api.PullRequest{Model: tiny, Pin: true}); p.body != want {
		t.Errorf("asked for %+v, want %+v", p.body, want)
	}
	want := []api.PullStage{
		{Stage: api.StageResolving, ModelRef: tinyInFull, Node: "mac"},
		{Stage: api.StageDownloading, ModelRef: tinyInFull, Node: "mac", Done: 5, Total: 10, BytesPerSecond: 5, ETAMS: 1000},
		{Stage: api.StageComplete, ModelRef: tinyInFull, Node: "mac", Done: 10, Total: 10, LocalPath: "/x.gguf"},
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
		s := api.PullStage{Stage: api.StageDownloading, Done: done, Total: tinySize, BytesPerSecond: rate}
		return &api.Comment{Text: s.Comment()}
	}
	story := []struct {
		ev   api.Event
		seen string // at a terminal
		line bool   // elsewhere, too
	}{
		{&api.Narration{Actor: "queen", Action: api.Download, Human: "downloading " + string(tinyInFull) + " to localhost"}, "to localhost", true},
		{moved(0, 0), " 0%", true},
		{moved(tinySize/100*45+50, 12_345_678), "45%", true},
		{moved(tinySize/100*46+50, 12_345_678), "46%", false},
		{moved(tinySize/100*98+100, 12_345_678), "98%", true},
		{&api.Comment{Text: "loading 40%"}, "loading 40%", false},
		{&api.Token{Text: "Hello", Channel: api.TextChannel}, "Hello", false},
		{&api.End{StopReason: api.StopEOS}, "", false},
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
				if e.seen != "" {
					at.until("\n")
				}
			}
			if got := at.wait(); got != 0 {
				t.Errorf("exit status %d", got)
			}
			screens.WriteString(at.screen())
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
	r := w.start("rbee", "model", "pull", string(tiny), "--queen", q.url)
	p := q.pull(tiny)[tiny]
	p.say(api.PullStage{Stage: api.StageDownloading, Done: 5, Total: 10})
	close(p.next)
	r.expect(1, "cut off")
	if r.stdout() != "" {
		t.Errorf("stdout: %q", r.stdout())
	}
}
