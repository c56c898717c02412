package keeper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/config"
	"rbee/core/lease"
	"rbee/core/secure"
	"rbee/roles/cmdline"
	"rbee/roles/keeper/guide"
)

func inferCommand() *cli.Command {
	return &cli.Command{
		Name: "infer", Usage: "one answer, streamed to stdout", ArgsUsage: "[PROMPT…]",
		Description: "The prompt is --prompt, or the arguments, or stdin. Without --model the guide inside the program answers,\n" +
			"which knows how to use rbee and nothing else. " +
			"Without a queen that runs, one is started, and everything that was started ends with the answer.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "node", Usage: "the machine: localhost, or a `NAME` of ~/.ssh/config"},
			&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "the `FILE.gguf`, a model of model list, one to be pulled, or embedded"},
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "the `TEXT`"},
			&cli.StringFlag{Name: "system", Usage: "`TEXT` that says how to answer"},
			&cli.IntFlag{Name: "max-tokens", Aliases: []string{"n"}, Usage: "of the answer; without it, to the end of the context"},
			&cli.Float64Flag{Name: "temperature", Usage: "0 to 2; 0: always the likeliest token (default: 0.7, the guide: 0)"},
			&cli.Float64Flag{Name: "top-p", Usage: "only of the likeliest that make up `P` together"},
			&cli.IntFlag{Name: "top-k", Usage: "only of the `N` likeliest tokens"},
			&cli.Float64Flag{Name: "min-p", Usage: "only of those `P` times as likely as the best"},
			&cli.Float64Flag{Name: "repeat-penalty", Usage: "of the last 64 tokens; 1: none"},
			&cli.Uint64Flag{Name: "seed", Usage: "the same seed gives the same text"},
			&cli.StringSliceFlag{Name: "stop", Usage: "`TEXT` that ends the answer; may be repeated"},
			&cli.BoolFlag{Name: "raw", Usage: "the prompt as it is, without the model's chat template"},
			&cli.StringFlag{Name: "think", Usage: "on or off: whether a model that can reasons first"},
			&cli.BoolFlag{Name: "keep", Usage: "leave what is started running, for the next one; rbee stop ends it"},
			&cli.BoolFlag{Name: "json", Usage: "all events on stdout, one a line"},
			&cli.StringFlag{Name: "queen", Usage: "`URL` of the queen to ask"},
			acceptNewFlag(),
			&cli.DurationFlag{Name: "timeout", Usage: "for everything, such as 2m"},
			&cli.BoolFlag{Name: "verbose", Usage: "phases with times, and the logs of what was started"},
		}, workerFlags()...),
		Action: infer,
	}
}

func infer(c *cli.Context) error {
	r, err := request(c)
	if err != nil {
		return err
	}
	trace := client.Trace{Correlation: secure.RandomID()}
	ctx := c.Context
	if d := c.Duration("timeout"); d > 0 {
		trace.Deadline = time.Now().Add(d)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, &core.Fault{Kind: core.DeadlineExceeded, What: fmt.Sprintf("no whole answer in %v", d), Try: "a longer --timeout, or fewer --max-tokens"})
		defer cancel()
	}
	ctx = client.WithTrace(ctx, trace)
	settings, err := cmdline.Settings()
	if err != nil {
		return err
	}
	s := newScreen(c, settings.Terminal)
	s.model = nameOf(r.Model)
	q, err := findQueen(ctx, c, settings, s)
	if err != nil {
		return err
	}
	return q.finish(ctx, s, q.askThrough(ctx, c, settings, r, s))
}

// askThrough asks again after a host key was trusted. The known_hosts of a queen
// elsewhere is not ours to write.
func (q *queen) askThrough(ctx context.Context, c *cli.Context, settings config.Settings, r api.TaskRequest, s *screen) error {
	if c.IsSet("queen") {
		return cmp.Or(q.ask(ctx, r, s), s.keyLine())
	}
	err := newDoorman(c, settings).through(ctx, string(r.Node), func() error {
		s.failed = nil
		return q.ask(ctx, r, s)
	})
	return cmp.Or(err, s.keyLine())
}

// errReaderGone says that stdout is closed.
var errReaderGone = errors.New("keeper: nobody reads stdout")

// request makes a task of the flags.
func request(c *cli.Context) (api.TaskRequest, error) {
	prompt, err := promptOf(c)
	if err != nil {
		return api.TaskRequest{}, err
	}
	r := api.TaskRequest{
		Model: core.ModelRef(c.String("model")), Node: core.NodeName(c.String("node")), Backend: core.Backend(c.String("backend")),
		Raw: c.Bool("raw"), Stop: c.StringSlice("stop"), ContextLength: c.Int("ctx"), Threads: c.Int("threads"),
		MaxTokens: given(c, "max-tokens", c.Int), Temperature: given(c, "temperature", c.Float64), TopP: given(c, "top-p", c.Float64),
		TopK: given(c, "top-k", c.Int), MinP: given(c, "min-p", c.Float64), RepetitionPenalty: given(c, "repeat-penalty", c.Float64),
		Seed: given(c, "seed", c.Uint64), Device: given(c, "device", c.Int),
	}
	system := c.String("system")
	if system != "" && r.Raw {
		return r, &core.Fault{Kind: core.Invalid, What: "--system with --raw: a raw prompt has no place for it", Try: "leave one of them out"}
	}
	if r.ChatTemplateKwargs, err = thinking(c); err != nil {
		return r, err
	}
	switch {
	case system == "" && !r.Raw && (r.Model == "" || r.Model == core.Embedded):
		guided(c, &r, prompt)
	case system != "":
		r.Messages = append(r.Messages, api.TextMessage("system", system), api.TextMessage("user", prompt))
	default:
		r.Prompt = &prompt
	}
	if path, ok, err := modelPath(c.String("model")); err != nil || ok {
		r.Model = core.ModelRef("file:" + path)
		return r, errors.Join(err, r.Validate())
	}
	return r, r.Validate()
}

// guided puts the help that fits the question before it: the model inside the
// program words its answers from that. It is not left to chance which words.
func guided(c *cli.Context, r *api.TaskRequest, question string) {
	help := guide.New(guide.Built(c.App.Commands)).Help(question)
	r.Messages = append(r.Messages, api.TextMessage("system", help), api.TextMessage("user", question))
	if r.Temperature == nil {
		r.Temperature = new(float64)
	}
}

// thinking makes an argument of the chat template of --think.
func thinking(c *cli.Context) (json.RawMessage, error) {
	switch how := c.String("think"); how {
	case "":
		return nil, nil
	case "on":
		return json.RawMessage(`{"enable_thinking":true}`), nil
	case "off":
		return json.RawMessage(`{"enable_thinking":false}`), nil
	default:
		return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--think %q: want on or off", how), Try: "--think off"}
	}
}

// given is a flag's value, nil when it was not given.
func given[T any](c *cli.Context, name string, get func(string) T) *T {
	if !c.IsSet(name) {
		return nil
	}
	v := get(name)
	return &v
}

// promptOf is --prompt, or the arguments, or stdin when that is no terminal.
func promptOf(c *cli.Context) (string, error) {
	prompt := c.String("prompt")
	if !c.IsSet("prompt") {
		prompt = strings.Join(c.Args().Slice(), " ")
	} else if c.Args().Len() > 0 {
		return "", &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("a prompt by --prompt and the argument %q", c.Args().First()), Try: "give one of them"}
	}
	if !c.IsSet("prompt") && c.Args().Len() == 0 && !isTerminal(c.App.Reader) {
		b, err := io.ReadAll(io.LimitReader(c.App.Reader, api.MaxBody))
		if err != nil {
			return "", fmt.Errorf("keeper: stdin: %w", err)
		}
		prompt = strings.TrimRight(string(b), "\n")
	}
	if strings.TrimSpace(prompt) == "" {
		return "", &core.Fault{Kind: core.Invalid, What: "the prompt is empty", Try: `rbee infer "what is a hive?"`}
	}
	return prompt, nil
}

// isTerminal tells whether a stream is one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// modelPath makes a path that --model names absolute. What looks like a path but
// is no file is an error; other words are references.
func modelPath(model string) (path string, ok bool, err error) {
	text, isFile := strings.CutPrefix(model, "file:")
	if model == "" || strings.HasPrefix(model, "hf:") || text == string(core.Embedded) && !isFile {
		return "", false, nil
	}
	looks := isFile || strings.HasSuffix(text, ".gguf") || strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".")
	info, err := os.Stat(text)
	switch {
	case err == nil && info.Mode().IsRegular():
		path, err = filepath.Abs(text)
		return path, true, err
	case !looks:
		return "", false, nil
	case err == nil:
		return "", false, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("model %s is no file", text), Try: "give the path of a .gguf file"}
	}
	return "", false, &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("model file %s: %v", text, errors.Unwrap(err)), Try: "check the path", Cause: err}
}

// A queen is the one that is asked: ours, or one that ran already.
type queen struct {
	client *client.Client
	child  *lease.Child           // nil: not ours
	run    string                 // the mark of what we started
	told   *endings               // what our queen says she ended
	nodes  map[core.NodeName]bool // that were asked for; true: a hive was there
	stop   time.Duration          // that her end may take
	lost   time.Duration          // after which a node that hears nothing ends by itself
	settle time.Duration          // that the last processes may take to be gone
}

// ask sends the task and shows its answer.
func (q *queen) ask(ctx context.Context, r api.TaskRequest, s *screen) error {
	if path, ok := r.Model.Path(); ok {
		if _, err := q.client.Import(ctx, path); err != nil {
			return q.why(ctx, err)
		}
	}
	if q.nodes != nil && r.Node != "" {
		q.nodes[r.Node] = false
	}
	var id core.TaskID
	for ev, err := range q.client.Task(ctx, r) {
		if err != nil {
			q.cancel(ctx, id)
			return q.why(ctx, err)
		}
		switch ev := ev.Event.(type) {
		case *api.Started:
			id = ev.JobID
		case *api.Narration:
			if _, asked := q.nodes[r.Node]; asked && ev.Action == api.HiveStart {
				q.nodes[r.Node] = true
			}
		}
		if err := s.show(ev.Event); err != nil {
			q.cancel(ctx, id)
			return err
		}
	}
	return s.failure()
}

// why says what ended the answer: a signal, the time, the queen's death, or err.
func (q *queen) why(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if q.child == nil || !errors.Is(err, api.ErrStreamCut) && !errors.Is(err, core.NodeUnreachable) {
		return err
	}
	if _, hers := errors.AsType[*core.Fault](err); hers {
		return err
	}
	select { // the connection breaks a moment before the exit is seen
	case <-q.child.Done():
		return &core.Fault{Kind: core.Internal, What: fmt.Sprintf("the queen ended: %v", cmp.Or(q.child.Err(), errors.New("exit status 0"))), Cause: err, Try: "ask again, with --verbose"}
	case <-time.After(time.Second):
		return err
	}
}

// cancel ends a task whose answer nobody wants.
func (q *queen) cancel(ctx context.Context, id core.TaskID) {
	if id == "" || q.child != nil { // ours ends with its queen
		return
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer stop()
	_ = q.client.CancelTask(ctx, id) // else the queen cancels it herself after a while
}
