package keeper

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
	"rbee/roles/cmdline"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "how fast a model runs on your machines, and how fast it could be at most", ArgsUsage: "[MODEL]",
		Description: "It is measured where it would run, on --node, or with --all-nodes on each. Without MODEL it is the one inside\n" +
			"the program, which is small. Numbers may be lists: 128,512. Without a queen that runs, one is started, and ends.",
		Flags: append([]cli.Flag{
			queenFlag(), acceptNewFlag(),
			&cli.StringFlag{Name: "node", Usage: "the machine: localhost, or a `NAME` of ~/.ssh/config"},
			&cli.BoolFlag{Name: "all-nodes", Usage: "every machine of the pool, all at once"},
			&cli.BoolFlag{Name: "json", Usage: "the results as JSON, one a line"},
			&cli.BoolFlag{Name: "verbose", Usage: "phases with times, and the logs of what was started"},
		}, cmdline.TestFlags()...),
		Action: bench,
	}
}

func bench(c *cli.Context) error {
	r, err := benchRequest(c)
	if err != nil {
		return err
	}
	settings, err := cmdline.Settings()
	if err != nil {
		return err
	}
	s := newScreen(c, settings.Terminal)
	s.json = false // the lines are results
	q, err := findQueen(c.Context, c, settings, s)
	if err != nil {
		return err
	}
	b := &benchTable{out: c.App.Writer, json: c.Bool("json")}
	try := func() error { return q.bench(c.Context, r, s, b) }
	if c.IsSet("queen") { // her known_hosts is not ours to write
		err = try()
	} else {
		err = newDoorman(c, settings).through(c.Context, string(r.Node), try)
	}
	return q.finish(c.Context, s, cmp.Or(err, b.print()))
}

// benchRequest is what the flags and the argument ask for.
func benchRequest(c *cli.Context) (r api.PoolBenchRequest, err error) {
	if r.Tests, err = cmdline.ReadTests(c); err != nil {
		return r, err
	}
	r.Model, r.Node, r.AllNodes = core.ModelRef(cmp.Or(c.Args().First(), string(core.Embedded))), core.NodeName(c.String("node")), c.Bool("all-nodes")
	switch {
	case c.Args().Len() > 1:
		return r, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("one model at a time, not %q too", c.Args().Get(1)), Try: "rbee bench MODEL"}
	case r.AllNodes && r.Node != "":
		return r, &core.Fault{Kind: core.Invalid, What: "--node with --all-nodes", Try: "leave one of them out"}
	}
	path, ok, err := modelPath(string(r.Model))
	if ok {
		r.Model = core.ModelRef("file:" + path)
	}
	return r, err
}

// bench has the queen measure, and takes the results down. The error of a node that
// was asked for alone is the command's.
func (q *queen) bench(ctx context.Context, r api.PoolBenchRequest, s *screen, b *benchTable) error {
	if path, ok := r.Model.Path(); ok {
		if _, err := q.client.Import(ctx, path); err != nil {
			return q.why(ctx, err)
		}
	}
	if q.nodes != nil && r.Node != "" {
		q.nodes[r.Node] = false
	}
	var failed error
	err := q.client.PoolBench(ctx, r, func(l api.BenchLine) error {
		switch {
		case l.Narration != nil:
			if q.nodes != nil && l.Narration.Action == api.HiveStart {
				q.nodes[l.Node] = true
			}
			s.narration(onNode(l))
		case l.Error != nil && !r.AllNodes:
			failed = l.Err()
		case l.Error != nil:
			b.failed = append(b.failed, core.Text(string(l.Node), l.Error.Message))
		case l.Row != nil:
			return b.add(l)
		}
		return nil
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return q.why(ctx, err)
	}
	return failed
}

// onNode is a line's narration with the name of its node.
func onNode(l api.BenchLine) *api.Narration {
	n := *l.Narration
	if !strings.Contains(n.Human, string(l.Node)) {
		n.Human = string(l.Node) + ": " + n.Human
	}
	return &n
}

// A benchTable takes results down.
type benchTable struct {
	out    io.Writer
	json   bool
	rows   []api.BenchLine
	failed []core.Fact // nodes without a result, and why
}

// add takes a result down; as JSON it is printed at once.
func (b *benchTable) add(l api.BenchLine) error {
	b.rows = append(b.rows, l)
	if !b.json {
		return nil
	}
	return json.NewEncoder(b.out).Encode(struct {
		Node core.NodeName `json:"node"`
		*api.BenchRow
	}{l.Node, l.Row})
}

// print prints the machines and then the results, by node.
func (b *benchTable) print() error {
	slices.SortStableFunc(b.rows, func(x, y api.BenchLine) int { return cmp.Compare(x.Node, y.Node) })
	var err error
	if len(b.rows) > 0 && !b.json {
		err = cmp.Or(b.machines(), b.results())
	}
	if len(b.failed) > 0 {
		return cmp.Or(err, error(&core.Fault{Kind: core.NodeUnreachable, What: "not every node could be measured", Facts: b.failed, Try: "rbee node check NAME"}))
	}
	return err
}

// machines says what each machine is and can do at most.
func (b *benchTable) machines() error {
	return table(b.out, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "NODE\tCPU\tTHREADS\tREADS\tINT8\tKERNELS")
		last := ""
		for _, l := range b.rows {
			r := l.Row
			line := fmt.Sprintf("%s\t%s\t%d\t%s GB/s\t%s GOPS\t%s on %s", l.Node, r.CPU, r.Threads, api.Rate(r.ReadGBps, 1), api.Rate(r.Int8GOPS, 0), r.KernelClass, r.KernelPath)
			if line != last {
				_, _ = fmt.Fprintln(w, line)
			}
			last = line
		}
		_, _ = fmt.Fprintln(w)
	})
}

func (b *benchTable) results() error {
	return table(b.out, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "NODE\tMODEL\tTHREADS\tTEST\tT/S\tGB/S\tOF READ\tGOPS\tOF INT8")
		for _, l := range b.rows {
			r := l.Row
			_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%.2f ± %.2f\t%s\t%s\t%s\t%s\n", l.Node, r.Type, r.Threads, r.Test(), r.Mean, r.Stddev,
				api.Rate(r.GBps, 2), api.Share(r.ReadShare), api.Rate(r.GOPS, 1), api.Share(r.Int8Share))
		}
	})
}
