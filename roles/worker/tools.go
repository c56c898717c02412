package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/machine"
	"rbee/inference"
)

func modelFlag() cli.Flag {
	return &cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` with the model, or embedded", Value: "embedded"}
}

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "compute one answer here, without a server; the prompt is taken as it is",
		Flags: []cli.Flag{
			modelFlag(),
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "the `TEXT`"},
			&cli.StringFlag{Name: "tokens", Usage: "the prompt as ids: `1,2,3`"},
			&cli.IntFlag{Name: "max-tokens", Aliases: []string{"n"}, Usage: "of the answer; 0: to the end of the context", Value: 128},
			&cli.Float64Flag{Name: "temperature", Usage: "0, the default: always the likeliest token"},
			&cli.IntFlag{Name: "top-k", Usage: "only of the `N` likeliest tokens"},
			&cli.Float64Flag{Name: "top-p", Usage: "only of the likeliest that make up `P` together"},
			&cli.Float64Flag{Name: "min-p", Usage: "only of those `P` times as likely as the best"},
			&cli.Float64Flag{Name: "typical", Usage: "only of the most typical that make up `P` together"},
			&cli.Float64Flag{Name: "repeat-penalty", Usage: "of the last 64 tokens; 1: none"},
			&cli.Uint64Flag{Name: "seed", Usage: "the same seed gives the same text"},
			&cli.BoolFlag{Name: "ignore-eos", Usage: "go on after the end of the text"},
			&cli.BoolFlag{Name: "logits", Usage: "with --json: the logits after the prompt"},
			&cli.IntFlag{Name: "top-logits", Usage: "with --json: the `N` best ids of each step"},
			&cli.BoolFlag{Name: "json", Usage: "a report as JSON, with the ids"},
			&cli.IntFlag{Name: "ctx", Usage: "tokens; 0: the model's, at most 8192"},
			&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "0: as many as there are cores"},
		},
		Action: runModel,
	}
}

// A report is what run prints with --json.
type report struct {
	PromptTokens []int32        `json:"prompt_tokens"`
	Tokens       []int32        `json:"tokens"`
	Text         string         `json:"text"`
	LogitsLast   []float32      `json:"logits_last,omitempty"`
	TopLogits    [][][2]float32 `json:"top_logits,omitempty"`
	StopReason   string         `json:"stop_reason"`
}

func runModel(c *cli.Context) error {
	q, err := runRequest(c)
	if err != nil {
		return err
	}
	if err := checkRun(c); err != nil {
		return err
	}
	threads := c.Int("threads")
	if threads <= 0 {
		threads = machine.UsableCores()
	}
	e, err := inference.Open(c.Context, c.String("model"), inference.Options{ContextLength: c.Int("ctx"), Threads: threads}, nil)
	if err != nil {
		return loadFault(c.String("model"), err)
	}
	ctx, cancel := context.WithCancel(c.Context)
	var loop sync.WaitGroup
	loop.Go(func() { _ = e.Run(ctx) }) // it fails never but with its answers
	err = printRun(c, e, q)
	cancel()
	loop.Wait()
	return errors.Join(err, e.Close())
}

func runRequest(c *cli.Context) (inference.Request, error) {
	q := inference.Request{
		Prompt: c.String("prompt"), Raw: true, MaxTokens: c.Int("max-tokens"), IgnoreEOG: c.Bool("ignore-eos"),
		Sample: inference.Params{
			Temperature: c.Float64("temperature"), TopK: c.Int("top-k"), TopP: c.Float64("top-p"), MinP: c.Float64("min-p"),
			Typical: c.Float64("typical"), Repetition: c.Float64("repeat-penalty"), Seed: c.Uint64("seed"),
		},
	}
	if (q.Prompt == "") == (c.String("tokens") == "") {
		return q, &core.Fault{Kind: core.Invalid, What: "want --prompt or --tokens", Try: "rbee worker run --prompt hello"}
	}
	for f := range strings.SplitSeq(c.String("tokens"), ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		id, err := strconv.ParseInt(f, 10, 32)
		if err != nil {
			return q, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--tokens: %q is not an id", f), Cause: err}
		}
		q.Tokens = append(q.Tokens, int32(id))
	}
	if c.String("tokens") != "" && len(q.Tokens) == 0 {
		return q, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--tokens %q holds no id", c.String("tokens"))}
	}
	return q, nil
}

// checkRun refuses what no run can be made of, all at once.
func checkRun(c *cli.Context) error {
	f := &core.Fault{Kind: core.Invalid}
	bad := func(flag string, wrong bool, want string) {
		if wrong {
			f.Facts = append(f.Facts, core.Text(flag, "want "+want))
		}
	}
	temperature := c.Float64("temperature")
	bad("--temperature", !(temperature >= 0 && temperature <= 2), "0 to 2")
	bad("--max-tokens", c.Int("max-tokens") < 0, "0 or more")
	bad("--ctx", c.Int("ctx") < 0, "0 or more")
	bad("--threads", c.Int("threads") < 0 || c.Int("threads") > mostThreads, fmt.Sprintf("0 to %d", mostThreads))
	bad("--top-logits", c.Int("top-logits") < 0, "0 or more")
	if len(f.Facts) == 0 {
		return nil
	}
	f.What = f.Facts[0].Name + ": " + f.Facts[0].Value
	return f
}

// mostThreads is more than any machine has use for.
const mostThreads = 1024

func printRun(c *cli.Context, e *inference.Engine, q inference.Request) error {
	p, err := e.Prepare(q)
	if err != nil {
		return requestFault(err, e)
	}
	q.Tokens = p.Tokens
	out := report{PromptTokens: p.Tokens, Tokens: []int32{}}
	wantLogits := c.Bool("json") && (c.Bool("logits") || c.Int("top-logits") > 0)
	generate := e.Generate
	if wantLogits {
		generate = e.GenerateLogits
	}
	for ev, err := range generate(c.Context, q) {
		if err != nil {
			return requestFault(err, e)
		}
		text := out.add(ev, c.Bool("logits"), c.Int("top-logits"))
		if !c.Bool("json") {
			if _, err := io.WriteString(c.App.Writer, text); errors.Is(err, syscall.EPIPE) {
				return nil // nobody reads it any more
			} else if err != nil {
				return fmt.Errorf("worker: stdout: %w", err)
			}
		}
	}
	if !c.Bool("json") {
		_, err = fmt.Fprintln(c.App.Writer)
		return err
	}
	return json.NewEncoder(c.App.Writer).Encode(out)
}

// add takes an event and returns its text.
func (r *report) add(ev inference.Event, logits bool, top int) (text string) {
	switch {
	case ev.Token != nil:
		text = ev.Token.Text
		r.Tokens = append(r.Tokens, ev.Token.ID)
		if logits && r.LogitsLast == nil {
			r.LogitsLast = ev.Token.Logits
		}
		if top > 0 {
			r.TopLogits = append(r.TopLogits, best(ev.Token.Logits, top))
		}
	case ev.Result != nil:
		text = ev.Result.Tail
		r.StopReason = string(reasons[ev.Result.Reason])
	}
	r.Text += text
	return text
}

// best returns the n highest logits with their ids, the best first.
func best(logits []float32, n int) (top [][2]float32) {
	for _, r := range inference.TopLogits(logits, n) {
		top = append(top, [2]float32{float32(r.ID), float32(r.Value)})
	}
	return top
}

func tokenizeCommand() *cli.Command {
	return &cli.Command{
		Name: "tokenize", Usage: "print the ids of the text on stdin",
		Flags: []cli.Flag{
			modelFlag(),
			&cli.BoolFlag{Name: "no-bos", Usage: "without the tokens that the model puts in front and behind"},
			&cli.BoolFlag{Name: "no-special", Usage: "special tokens in the text are text"},
			&cli.BoolFlag{Name: "batch", Usage: "a JSON array of texts in, an array of arrays out"},
		},
		Action: withText(func(c *cli.Context, t *inference.Text, in []byte) error {
			o := inference.EncodeOptions{AddSpecial: !c.Bool("no-bos"), ParseSpecial: !c.Bool("no-special")}
			if !c.Bool("batch") {
				return json.NewEncoder(c.App.Writer).Encode(map[string][]int32{"tokens": notNil(t.Tokenize(string(in), o))})
			}
			var texts []string
			if err := json.Unmarshal(in, &texts); err != nil {
				return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("stdin is no JSON array of texts: %v", err), Cause: err}
			}
			all := make([][]int32, len(texts))
			for i, text := range texts {
				all[i] = notNil(t.Tokenize(text, o))
			}
			return json.NewEncoder(c.App.Writer).Encode(all)
		}),
	}
}

func detokenizeCommand() *cli.Command {
	return &cli.Command{
		Name: "detokenize", Usage: `print the text of {"tokens":[…]} on stdin`,
		Flags: []cli.Flag{modelFlag()},
		Action: withText(func(c *cli.Context, t *inference.Text, in []byte) error {
			var r struct {
				Tokens []int32 `json:"tokens"`
			}
			if err := json.Unmarshal(in, &r); err != nil {
				return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf(`stdin is no {"tokens":[…]}: %v`, err), Cause: err}
			}
			_, err := c.App.Writer.Write(t.Detokenize(r.Tokens))
			return err
		}),
	}
}

func templateCommand() *cli.Command {
	return &cli.Command{
		Name: "template", Usage: `print the prompt that the chat template makes of {"messages","tools","add_generation_prompt","chat_template_kwargs"} on stdin`,
		Flags: []cli.Flag{modelFlag()},
		Action: withText(func(c *cli.Context, t *inference.Text, in []byte) error {
			var r struct {
				Messages []json.RawMessage `json:"messages"`
				Tools    json.RawMessage   `json:"tools"`
				Prompt   bool              `json:"add_generation_prompt"`
				Kwargs   json.RawMessage   `json:"chat_template_kwargs"`
			}
			if err := json.Unmarshal(in, &r); err != nil {
				return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("stdin is no request: %v", err), Cause: err}
			}
			text, err := t.Template(inference.TemplateInput{Messages: r.Messages, Tools: r.Tools, AddGenerationPrompt: r.Prompt, Kwargs: r.Kwargs})
			if err != nil {
				return requestFault(err, nil)
			}
			_, err = io.WriteString(c.App.Writer, text)
			return err
		}),
	}
}

// readAll reads r to its end, or until ctx is done: a read of a terminal or of a
// pipe cannot be broken off, and the goroutine in it ends with the process.
func readAll(ctx context.Context, r io.Reader) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		b, err := io.ReadAll(r)
		read <- result{b, err}
	}()
	select {
	case got := <-read:
		return got.text, got.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// withText is an action on stdin with the model's tokenizer and template.
func withText(act func(c *cli.Context, t *inference.Text, in []byte) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		t, err := inference.OpenText(c.String("model"))
		if err != nil {
			return loadFault(c.String("model"), err)
		}
		in, err := readAll(c.Context, c.App.Reader)
		if err != nil {
			return errors.Join(fmt.Errorf("worker: stdin: %w", err), t.Close())
		}
		return errors.Join(act(c, t, in), t.Close())
	}
}
