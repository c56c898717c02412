package inference

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"rbee/inference/tokenizer"
)

// start opens an engine on the embedded model and runs its loop until the test ends.
func start(t *testing.T, path string, o Options) *Engine {
	t.Helper()
	e, err := Open(t.Context(), path, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = e.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		run.Wait()
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

type said struct {
	text   string
	ids    []int32
	result *Result
}

func ask(ctx context.Context, e *Engine, r Request) (s said, err error) {
	for ev, err := range e.Generate(ctx, r) {
		switch {
		case err != nil:
			return s, err
		case ev.Token != nil:
			s.text += ev.Token.Text
			s.ids = append(s.ids, ev.Token.ID)
			if ev.Token.Index != len(s.ids)-1 || !utf8.ValidString(ev.Token.Text) {
				return s, fmt.Errorf("token %+v", ev.Token)
			}
		case ev.Result != nil:
			s.text += ev.Result.Tail
			s.result = ev.Result
		}
	}
	return s, nil
}

// helped is a question to the embedded model with the help that it words.
func helped() []json.RawMessage {
	return []json.RawMessage{
		json.RawMessage(`{"role":"system","content":"Help of rbee:\n- ` + "`rbee node add hydra` adds a machine to your pool. `ssh hydra` must work from here." + `"}`),
		json.RawMessage(`{"role":"user","content":"how do I add a machine?"}`),
	}
}

// The program answers a question about itself.
func TestEmbeddedAnswers(t *testing.T) {
	e := start(t, Embedded, Options{Threads: 2})
	got, err := ask(t.Context(), e, Request{Messages: helped(), MaxTokens: 80})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got.text, "`rbee node add hydra`") || got.result.Reason != EndOfText {
		t.Errorf("got %q, %+v; want it to name rbee node add", got.text, got.result)
	}
	if got.result.AnswerTokens != len(got.ids) || got.result.PromptTokens == 0 || got.result.Decode <= 0 {
		t.Errorf("result: %+v of %d tokens", got.result, len(got.ids))
	}
}

// The same seed gives the same text, alone or with seven others, whatever came before.
func TestSameSeedInCompany(t *testing.T) {
	e := start(t, Embedded, Options{Threads: 2, Slots: 8})
	request := func(i int) Request {
		return Request{
			Prompt: []string{"what is a hive?", "how do I stop a model?", strings.Repeat("tell me about bees. ", 12)}[i%3],
			Sample: Params{Temperature: 1, Seed: uint64(i)}, MaxTokens: 24, IgnoreEOG: true,
		}
	}
	var alone []said
	for i := range 8 {
		s, err := ask(t.Context(), e, request(i))
		if err != nil {
			t.Fatal(err)
		}
		alone = append(alone, s)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			s, err := ask(t.Context(), e, request(i))
			if err != nil || !slices.Equal(s.ids, alone[i].ids) || s.text != alone[i].text {
				t.Errorf("request %d in company: %q, %v; alone: %q", i, s.text, err, alone[i].text)
			}
		})
	}
	all.Wait()
	if slices.Equal(alone[0].ids, alone[3].ids) && slices.Equal(alone[1].ids, alone[4].ids) && slices.Equal(alone[2].ids, alone[5].ids) {
		t.Error("another seed gave the same text")
	}
}

func TestStops(t *testing.T) {
	e := start(t, Embedded, Options{Threads: 1})
	whole, err := ask(t.Context(), e, Request{Messages: helped(), MaxTokens: 40})
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(whole.text, "node")
	for _, stop := range []string{"node", "e", "ode a", " node add"} {
		got, err := ask(t.Context(), e, Request{Messages: helped(), MaxTokens: 40, Stop: []string{"never said", stop}})
		want, _, found := strings.Cut(whole.text, stop)
		if err != nil || at < 0 || !found || got.text != want || got.result.Reason != StopText || got.result.Stop != stop {
			t.Errorf("stop %q: got %q, %+v, %v; want %q", stop, got.text, got.result, err, want)
		}
	}
	got, err := ask(t.Context(), e, Request{Messages: helped(), MaxTokens: 5, Stop: []string{whole.text + "!"}})
	if err != nil || got.result.Reason != MaxTokens || len(got.ids) != 5 || !strings.HasPrefix(whole.text, got.text) || got.text == "" {
		t.Errorf("what was held back was lost: %q, %+v, %v", got.text, got.result, err)
	}
}

func TestStopsInPieces(t *testing.T) {
	tests := []struct {
		stop   string
		pieces []string
		want   string
	}{
		{"END", []string{"a E", "N", "D b"}, "a |END"},
		{"END", []string{"a E", "N", "d b"}, "a ENd b|"},
		{"aab", []string{"a", "a", "a", "b"}, "a|aab"},
		{"\n\n", []string{"x\n", "y\n", "\nz"}, "x\ny|\n\n"},
	}
	for _, tt := range tests {
		s := newStops([]string{tt.stop})
		var got, stop string
		for _, p := range tt.pieces {
			text, hit := s.push(p)
			got += text
			if stop = hit; hit != "" {
				break
			}
		}
		if stop == "" {
			got += s.flush()
		}
		if got+"|"+stop != tt.want {
			t.Errorf("%q in %q: got %q, want %q", tt.stop, tt.pieces, got+"|"+stop, tt.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	e := start(t, Embedded, Options{ContextLength: 64, Threads: 1, Slots: 1})
	_, err := ask(t.Context(), e, Request{Prompt: strings.Repeat("bees and hives ", 60)})
	if c, ok := errors.AsType[*ContextError](err); !ok || c.Have != 64 || c.Need <= 64 {
		t.Errorf("a prompt that does not fit: %v", err)
	}
	for name, r := range map[string]Request{"no token": {Raw: true}, "token outside": {Tokens: []int32{1 << 20}}} {
		if _, err := ask(t.Context(), e, r); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full, err := ask(t.Context(), e, Request{Prompt: "hi", IgnoreEOG: true})
	if err != nil || full.result.Reason != MaxTokens || full.result.PromptTokens+len(full.ids) != 64 {
		t.Errorf("to the end of the context: %+v, %v", full.result, err)
	}
	if _, err := Open(t.Context(), "engine.go", Options{}, nil); !errors.Is(err, ErrFormat) {
		t.Errorf("a text as a model: %v", err)
	}
	if _, err := Open(t.Context(), Embedded, Options{ContextLength: 1 << 20}, nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a context that is too long: %v", err)
	}
}

// Whoever breaks off gives the slot back, and nobody waits for a slot.
func TestCancelAndSlots(t *testing.T) {
	e := start(t, Embedded, Options{Threads: 1, Slots: 1})
	for range 3 {
		for ev, err := range e.Generate(t.Context(), Request{Prompt: "hello", IgnoreEOG: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if ev.Token != nil && ev.Token.Index == 2 {
				if _, err := ask(t.Context(), e, Request{Prompt: "x"}); !errors.Is(err, ErrNoSlot) {
					t.Errorf("a second answer: %v", err)
				}
				break
			}
		}
		if e.SlotsFree() != 1 {
			t.Fatal("the slot of an answer that was broken off is not free")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	for ev, err := range e.Generate(ctx, Request{Prompt: "hello", IgnoreEOG: true}) {
		if n++; n == 3 {
			cancel()
		}
		if err != nil && (!IsCancelled(err) || ev != Event{}) {
			t.Errorf("a cancelled answer: %v", err)
		}
	}
	cancel()
	if n > 900 {
		t.Errorf("a cancelled answer went on for %d events", n)
	}
}

func TestRunEnds(t *testing.T) {
	e, err := Open(t.Context(), Embedded, Options{Threads: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = e.Run(ctx) })
	var last error
	for ev, err := range e.Generate(t.Context(), Request{Prompt: "hello", IgnoreEOG: true}) {
		if last = err; ev.Token != nil && ev.Token.Index == 1 {
			cancel() // the loop ends under a running answer
		}
	}
	cancel()
	run.Wait()
	if !errors.Is(last, ErrClosed) {
		t.Errorf("the answer under way: %v, want %v", last, ErrClosed)
	}
	if _, err := ask(t.Context(), e, Request{Prompt: "x"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines before, %d after", before, n)
	}
}

// The golden ids of a text come out of the whole engine, too.
func TestTokensAsTheyAre(t *testing.T) {
	e := start(t, "model/testdata/llama.gguf", Options{Threads: 1})
	got, err := ask(t.Context(), e, Request{Tokens: []int32{1, 448, 496}, MaxTokens: 4, IgnoreEOG: true})
	if err != nil || len(got.ids) != 4 {
		t.Fatalf("%v, %v", got.ids, err)
	}
	if ids := e.Tokenize("Hello", tokenizer.EncodeOptions{AddSpecial: true}); !slices.Equal(ids, []int32{1, 448, 496}) && ids[0] != 1 {
		t.Errorf("Hello is %v", ids)
	}
	p, err := e.Prepare(Request{Prompt: "Hello"})
	if err != nil || !p.Untemplated && !e.Info().HasTemplate {
		t.Errorf("a model without a template: %+v, %v", p, err)
	}
}

// Log-probabilities are of the model's distribution, whatever the choice was made by.
func TestLogprobs(t *testing.T) {
	e := start(t, "model/testdata/llama.gguf", Options{Threads: 1})
	r := Request{Tokens: []int32{1, 448, 496}, MaxTokens: 6, IgnoreEOG: true, Logprobs: true, TopN: 5, Sample: Params{Temperature: 1.5, TopK: 3, Seed: 7}}
	n := 0
	for ev, err := range e.GenerateLogits(t.Context(), r) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Token == nil {
			continue
		}
		n++
		p, sum := ev.Token.Probed, 0.0
		for _, v := range ev.Token.Logits {
			sum += math.Exp(float64(v))
		}
		want := float64(ev.Token.Logits[ev.Token.ID]) - math.Log(sum)
		if p == nil || math.Abs(p.Logprob-want) > 1e-6 || len(p.Top) != 5 {
			t.Errorf("token %d: %+v, want %g", ev.Token.ID, p, want)
			continue
		}
		if !slices.IsSortedFunc(p.Top, func(a, b Ranked) int { return cmp.Compare(b.Value, a.Value) }) {
			t.Errorf("not in order: %v", p.Top)
		}
		if at := slices.IndexFunc(p.Top, func(r Ranked) bool { return r.ID == ev.Token.ID }); at < 0 || at > 2 || p.Top[at].Value != p.Logprob {
			t.Errorf("of the best three, but not among them: %d in %v", ev.Token.ID, p.Top)
		}
	}
	if n != 6 {
		t.Errorf("%d tokens", n)
	}
	got, err := ask(t.Context(), e, Request{Tokens: []int32{1}, MaxTokens: 1, IgnoreEOG: true})
	if err != nil || len(got.ids) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
