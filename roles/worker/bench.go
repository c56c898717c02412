package worker

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/machine"
	"rbee/inference"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure tokens per second as llama-bench does; numbers may be lists: 128,512",
		Flags: []cli.Flag{
			modelFlag(),
			&cli.StringFlag{Name: "n-prompt", Aliases: []string{"p"}, Usage: "tokens read at once; 0: none", Value: "512"},
			&cli.StringFlag{Name: "n-gen", Aliases: []string{"n"}, Usage: "tokens made one by one; 0: none", Value: "128"},
			&cli.StringFlag{Name: "n-depth", Aliases: []string{"d"}, Usage: "tokens in the cache before either", Value: "0"},
			&cli.StringFlag{Name: "threads", Aliases: []string{"t"}, Usage: "0: as many as there are cores", Value: "0"},
			&cli.IntFlag{Name: "repetitions", Aliases: []string{"r"}, Usage: "of each measurement", Value: 5},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "md, json or csv", Value: "md"},
		},
		Action: runBench,
	}
}

// A benchRow is one result, in llama-bench's names.
type benchRow struct {
	File      string    `json:"model_filename"`
	Type      string    `json:"model_type"`
	Params    int64     `json:"n_params"`
	Size      int64     `json:"model_size"`
	Prompt    int       `json:"n_prompt"`
	Gen       int       `json:"n_gen"`
	Depth     int       `json:"n_depth"`
	Threads   int       `json:"n_threads"`
	Backend   string    `json:"backend"`
	Mean      float64   `json:"avg_ts"`
	Stddev    float64   `json:"stddev_ts"`
	Samples   []float64 `json:"samples_ts"`
	GBps      float64   `json:"gb_per_s"` // of weights read; 0 when many tokens share a reading
	className string
}

func runBench(c *cli.Context) error {
	tests, threads, err := benchTests(c)
	if err != nil {
		return err
	}
	if o := c.String("output"); o != "md" && o != "json" && o != "csv" {
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--output: is %q, want md, json or csv", o)}
	}
	rows := []benchRow{}
	for _, n := range threads {
		if n == 0 {
			n = machine.UsableCores()
		}
		more, err := benchThreads(c, tests, n)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	switch c.String("output") {
	case "json":
		e := json.NewEncoder(c.App.Writer)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	case "csv":
		return benchCSV(c.App.Writer, rows)
	}
	return benchTable(c.App.Writer, rows)
}

// benchTests makes a test of each prompt and each generation at each depth.
func benchTests(c *cli.Context) (tests []inference.BenchTest, threads []int, err error) {
	lists := map[string][]int{}
	for _, name := range []string{"n-prompt", "n-gen", "n-depth", "threads"} {
		for f := range strings.SplitSeq(c.String(name), ",") {
			n, err := strconv.Atoi(strings.TrimSpace(f))
			if err != nil || n < 0 {
				return nil, nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--%s: %q is no number of at least 0", name, f)}
			}
			lists[name] = append(lists[name], n)
		}
	}
	for _, depth := range lists["n-depth"] {
		for _, n := range lists["n-prompt"] {
			tests = append(tests, inference.BenchTest{Prompt: n, Depth: depth})
		}
		for _, n := range lists["n-gen"] {
			tests = append(tests, inference.BenchTest{Gen: n, Depth: depth})
		}
	}
	used := tests[:0]
	for _, t := range tests {
		if t.Prompt+t.Gen > 0 {
			used = append(used, t)
		}
	}
	if len(used) == 0 {
		return nil, nil, &core.Fault{Kind: core.Invalid, What: "nothing to measure: -p and -n are 0"}
	}
	return used, lists["threads"], nil
}

// benchThreads runs the tests with so many threads.
func benchThreads(c *cli.Context, tests []inference.BenchTest, threads int) (rows []benchRow, err error) {
	room := 0
	for _, t := range tests {
		room = max(room, t.Tokens())
	}
	e, err := openTool(c, room, threads)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	m := e.BenchModel()
	for _, t := range tests {
		r, err := e.Bench(c.Context, t, c.Int("repetitions"))
		if err != nil {
			return nil, requestFault(err, e)
		}
		rows = append(rows, benchRow{
			File: c.String("model"), Type: m.Name, Params: m.Parameters, Size: m.Bytes, Prompt: t.Prompt, Gen: t.Gen, Depth: t.Depth,
			Threads: threads, Backend: "CPU", Mean: r.Mean, Stddev: r.Stddev, Samples: r.Samples, GBps: r.GBps, className: e.Info().Class,
		})
	}
	return rows, nil
}

// openTool opens the model of a tool that computes without the loop.
func openTool(c *cli.Context, context, threads int) (*inference.Engine, error) {
	e, err := inference.Open(c.Context, c.String("model"), inference.Options{ContextLength: context, Threads: threads}, nil)
	if err != nil {
		return nil, loadFault(c.String("model"), err)
	}
	return e, nil
}

// test is what llama-bench calls a test: pp512, tg128 @ d4096.
func (r benchRow) test() string {
	s := fmt.Sprintf("pp%d", r.Prompt)
	if r.Prompt == 0 {
		s = fmt.Sprintf("tg%d", r.Gen)
	}
	if r.Depth > 0 {
		s += fmt.Sprintf(" @ d%d", r.Depth)
	}
	return s
}

func benchTable(w io.Writer, rows []benchRow) error {
	var b strings.Builder
	b.WriteString("| model                          |       size |     params | backend    | threads |            test |                  t/s |   GB/s |\n")
	b.WriteString("| ------------------------------ | ---------: | ---------: | ---------- | ------: | --------------: | -------------------: | -----: |\n")
	for _, r := range rows {
		rate := ""
		if r.GBps > 0 {
			rate = fmt.Sprintf("%.2f", r.GBps)
		}
		fmt.Fprintf(&b, "| %-30s | %6.2f MiB | %8.2f M | %-10s | %7d | %15s | %20s | %6s |\n", r.Type, float64(r.Size)/(1<<20), float64(r.Params)/1e6,
			r.Backend+" "+r.className, r.Threads, r.test(), fmt.Sprintf("%.2f ± %.2f", r.Mean, r.Stddev), rate)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func benchCSV(w io.Writer, rows []benchRow) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"model_filename", "model_type", "n_params", "model_size", "n_prompt", "n_gen", "n_depth", "n_threads", "backend", "avg_ts", "stddev_ts", "gb_per_s"})
	for _, r := range rows {
		f := func(x float64) string { return strconv.FormatFloat(x, 'f', 6, 64) }
		_ = out.Write([]string{
			r.File, r.Type, strconv.FormatInt(r.Params, 10), strconv.FormatInt(r.Size, 10), strconv.Itoa(r.Prompt), strconv.Itoa(r.Gen),
			strconv.Itoa(r.Depth), strconv.Itoa(r.Threads), r.Backend, f(r.Mean), f(r.Stddev), f(r.GBps),
		})
	}
	out.Flush()
	return out.Error()
}
