package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/machine"
	"rbee/inference"
	"rbee/roles/cmdline"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure tokens per second as llama-bench does, and what the machine can do at most; numbers may be lists: 128,512",
		Flags: append(cmdline.TestFlags(),
			modelFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "md, json, jsonl or csv", Value: "md"},
			cmdline.LeaseFlag(),
		),
		Action: runBench,
	}
}

func runBench(c *cli.Context) error {
	tests, err := cmdline.ReadTests(c)
	if err != nil {
		return err
	}
	write, known := benchWriters[c.String("output")]
	if !known {
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--output: is %q, want md, json, jsonl or csv", c.String("output"))}
	}
	ctx, stop, err := cmdline.Leased(c, "llm-worker-rbee")
	if err != nil {
		return err
	}
	defer stop()
	rows := []api.BenchRow{}
	for _, n := range tests.Threads {
		more, err := benchThreads(ctx, c.String("model"), tests, cmp.Or(n, machine.UsableCores()))
		if err != nil {
			return err
		}
		if rows = append(rows, more...); c.String("output") == "jsonl" { // those that there are
			if err := benchLines(c.App.Writer, more); err != nil {
				return err
			}
		}
	}
	return write(c.App.Writer, rows)
}

// pairs makes a test of each prompt and each generation at each depth.
func pairs(t api.Tests) (tests []inference.BenchTest) {
	for _, depth := range t.Depths {
		for _, n := range t.Prompts {
			tests = append(tests, inference.BenchTest{Prompt: n, Depth: depth})
		}
		for _, n := range t.Gens {
			tests = append(tests, inference.BenchTest{Gen: n, Depth: depth})
		}
	}
	return slices.DeleteFunc(tests, func(t inference.BenchTest) bool { return t.Prompt+t.Gen == 0 })
}

// benchThreads runs the tests with so many threads, and measures before and after
// what the machine can do at most.
func benchThreads(ctx context.Context, model string, t api.Tests, threads int) (rows []api.BenchRow, err error) {
	e, err := openTool(ctx, model, t.Context(), threads)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	before := e.Gauge()
	var results []inference.BenchResult
	for _, test := range pairs(t) {
		r, err := e.Bench(ctx, test, t.Repetitions)
		if err != nil {
			return nil, requestFault(err, e)
		}
		results = append(results, r)
	}
	after := e.Gauge()
	read, peak := median(before.ReadGBps, after.ReadGBps), median(before.Int8GOPS, after.Int8GOPS)
	m, cpu := e.BenchModel(), machine.CPU().Name
	for _, r := range results {
		rows = append(rows, api.BenchRow{
			File: model, Type: m.Name, Params: m.Parameters, Size: m.Bytes, Prompt: r.Prompt, Gen: r.Gen, Depth: r.Depth,
			Threads: threads, Backend: "CPU", Mean: r.Mean, Stddev: r.Stddev, Samples: r.Samples,
			GBps: r.GBps, ReadGBps: read, ReadShare: r.ReadShare(read), GOPS: r.GOPS, Int8GOPS: peak, Int8Share: r.Int8Share(peak),
			CPU: cpu, KernelClass: e.Info().Class, KernelPath: inference.VectorPath(),
		})
	}
	return rows, nil
}

// median is the middle of all values, 0 of none.
func median(lists ...[]float64) float64 {
	v := slices.Sorted(slices.Values(slices.Concat(lists...)))
	switch n := len(v); {
	case n == 0:
		return 0
	case n%2 == 0:
		return (v[n/2-1] + v[n/2]) / 2
	default:
		return v[n/2]
	}
}

// openTool opens the model of a tool that computes without the loop.
func openTool(ctx context.Context, model string, room, threads int) (*inference.Engine, error) {
	e, err := inference.Open(ctx, model, inference.Options{ContextLength: room, Threads: threads}, nil)
	if err != nil {
		return nil, loadFault(model, err)
	}
	return e, nil
}
