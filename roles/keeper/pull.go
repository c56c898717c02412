package keeper

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/remote"
)

func pullCommand() *cli.Command {
	return &cli.Command{
		Name: "pull", Usage: "bring models to a machine", ArgsUsage: "MODEL…",
		Description: "A MODEL is hf:org/repo, hf:org/repo:Q4_K_M, hf:org/repo:file.gguf, a short name such as tinyllama, or a file of\n" +
			"this machine, for another one. What breaks off goes on where it was, at the next try. A node that the pool has the\n" +
			"model on gives a copy of it. On stdout stands where each model is: its path, with NODE: before it on another machine.",
		Flags: []cli.Flag{
			queenFlag(),
			&cli.StringSliceFlag{Name: "node", Usage: "the machine: localhost, or a `NAME` of ~/.ssh/config; may be repeated"},
			&cli.BoolFlag{Name: "pin", Usage: "never remove it to make room for others"},
			&cli.BoolFlag{Name: "json", Usage: "all stages on stdout, one a line"},
			acceptNewFlag(),
		},
		Action: withAnyQueen(pullModels, wants(1, many, "a model", "rbee model pull tinyllama")),
	}
}

// many is as many arguments as one likes.
const many = math.MaxInt

// A pull is one model that is brought to one node.
type pull struct {
	n       int // its line on the board
	typed   string
	request api.PullRequest
	node    core.NodeName // where it comes to, once that is known
	last    api.PullStage // its last stage
	err     error
}

func pullModels(ctx context.Context, x *session) error {
	pulls, err := x.pulls(ctx)
	if err != nil {
		return err
	}
	if err := x.round(ctx, pulls); err != nil {
		return err
	}
	for _, p := range pulls {
		if err := x.admit(ctx, pulls, p); err != nil {
			return err
		}
	}
	return x.outcome(ctx, pulls)
}

// pulls are the models of the command line, each for each node.
func (x *session) pulls(ctx context.Context) (list []*pull, err error) {
	nodes := x.StringSlice("node")
	if len(nodes) == 0 {
		nodes = []string{""}
	}
	for _, typed := range x.Args().Slice() {
		model, err := x.model(ctx, typed)
		if err != nil {
			return nil, err
		}
		for _, node := range nodes {
			node := core.NodeName(node)
			x.expect(node)
			list = append(list, &pull{
				typed: typed, node: node,
				request: api.PullRequest{Model: model, Node: node, Pin: x.Bool("pin")},
			})
		}
	}
	return list, nil
}

// model is a reference as it was typed; of a path, one that the queen may read.
func (x *session) model(ctx context.Context, typed string) (core.ModelRef, error) {
	if typed == "" { // such as of a variable that is not set
		return "", &core.Fault{Kind: core.Invalid, What: "the name of a model is empty", Try: "rbee model list"}
	}
	path, ok, err := modelPath(typed)
	if err != nil || !ok {
		return core.ModelRef(typed), err
	}
	m, err := x.queen.client.Import(ctx, path)
	return m.Ref, x.queen.why(ctx, err)
}

// round runs pulls at once and shows how far they are.
func (x *session) round(ctx context.Context, pulls []*pull) error {
	b := x.board(pulls)
	var all sync.WaitGroup
	for n, p := range pulls {
		p.n = n
		all.Go(func() { p.err = x.queen.why(ctx, p.run(ctx, x.queen, b)) })
	}
	all.Wait()
	b.close()
	for _, p := range pulls {
		if p.last.Stage != "" {
			x.there(p.node)
		}
	}
	if wire, ok := b.(*wireLines); ok {
		return wire.failed
	}
	return nil
}

// board is where the pulls are shown: as JSON on stdout, drawn, or in lines.
func (x *session) board(pulls []*pull) board {
	if x.Bool("json") {
		return &wireLines{out: x.App.Writer}
	}
	out, file := x.App.ErrWriter.(*os.File)
	if !x.screen.status || !file {
		return newLines(x.App.ErrWriter, len(pulls))
	}
	names := make([]string, len(pulls))
	for n, p := range pulls {
		names[n] = p.name()
	}
	return newBars(out, x.settings.Terminal.Colours, names)
}

// name is what the pull is called on the board.
func (p *pull) name() string {
	if p.request.Node == "" && (p.node == "" || p.node == core.Localhost) {
		return nameOf(p.request.Model)
	}
	return fmt.Sprintf("%s on %s", nameOf(p.request.Model), p.node)
}

// run is one pull, from its first stage to its last.
func (p *pull) run(ctx context.Context, q *queen, b board) error {
	said := ""
	for stage, err := range q.client.Pull(ctx, p.request) {
		if stage == nil && err == nil {
			continue // a sign of life
		}
		if err != nil {
			p.fail(ctx, b, err)
			return err
		}
		stage.ModelRef = cmp.Or(stage.ModelRef, p.request.Model)
		if stage.Note != "" && stage.Note != said {
			said = stage.Note
			b.say(p.name() + ": " + said)
		}
		p.show(b, *stage)
	}
	if !p.last.Final() {
		return fmt.Errorf("keeper: pull of %s: %w", p.typed, api.ErrStreamCut)
	}
	return nil
}

// fail shows why a pull has ended; one that a person broke off stands as it is.
func (p *pull) fail(ctx context.Context, b board, err error) {
	if ctx.Err() != nil {
		return
	}
	s := api.FailedStage(err)
	s.ModelRef, s.Node = p.request.Model, p.node
	s.Done, s.Total = p.last.Done, p.last.Total // what is there stays
	p.show(b, s)
}

func (p *pull) show(b board, s api.PullStage) {
	if s.Node != "" && s.Stage != api.StageWaiting {
		p.node = s.Node
	}
	p.last = s
	b.show(p.n, p.name(), s)
}

// admit asks for the host key that was in the way of a pull, and then tries again
// all that have the same node.
func (x *session) admit(ctx context.Context, pulls []*pull, p *pull) error {
	if _, unknown := remote.UnknownKey(p.err); !unknown || x.IsSet("queen") {
		return nil
	}
	tried := false
	err := newDoorman(x.Context, x.settings).through(ctx, string(p.request.Node), func() error {
		if tried {
			var again []*pull
			for _, o := range pulls {
				if _, unknown := remote.UnknownKey(o.err); unknown && o.request.Node == p.request.Node {
					again = append(again, o)
				}
			}
			if err := x.round(ctx, again); err != nil {
				return err
			}
		}
		tried = true
		return p.err
	})
	if p.err != nil {
		p.err = err // why it was not trusted, when there is a reason
	}
	return nil
}

// outcome writes where the models are. What failed is told, and the first of it is
// the error.
func (x *session) outcome(ctx context.Context, pulls []*pull) error {
	var first error
	for _, p := range pulls {
		switch {
		case p.err == nil && !x.Bool("json"):
			if err := x.screen.write(p.place() + "\n"); err != nil {
				return err
			}
		case p.err == nil:
		case ctx.Err() != nil:
			first = context.Cause(ctx)
			x.screen.note(p.stopped())
		case first == nil:
			first = p.err
		default:
			x.screen.verdict(p.err)
		}
	}
	return first
}

// place is where the model is.
func (p *pull) place() string {
	path := cmp.Or(p.last.LocalPath, string(p.last.ModelRef))
	if p.node == "" || p.node == core.Localhost {
		return path
	}
	return string(p.node) + ":" + path
}

// stopped says what is kept of a pull that was broken off, and how it goes on.
func (p *pull) stopped() string {
	again := "rbee model pull " + p.typed
	if p.request.Node != "" {
		again += " --node " + string(p.request.Node)
	}
	if p.last.Done == 0 {
		return fmt.Sprintf("%s: stopped before anything was there; %s begins again", p.name(), again)
	}
	return fmt.Sprintf("%s: stopped; %s of %s are kept, and %s goes on from there", p.name(), size(p.last.Done), size(p.last.Total), again)
}

// WireLines is the board of --json: each stage as it is on the wire, one a line.
type wireLines struct {
	mu     sync.Mutex // guards what follows
	out    io.Writer
	failed error // nobody reads
}

var _ board = (*wireLines)(nil)

func (w *wireLines) show(_ int, _ string, s api.PullStage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	err := json.NewEncoder(&b).Encode(s)
	if err == nil {
		_, err = io.WriteString(w.out, b.String())
	}
	if err != nil && w.failed == nil {
		w.failed = fmt.Errorf("%w: %w", errReaderGone, err)
	}
}

func (w *wireLines) say(string) {} // it is in the stage
func (w *wireLines) close()     {}
