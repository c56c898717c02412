package worker

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"rbee/core/api"
)

// benchWriters write all results, by the name of --output.
var benchWriters = map[string]func(w io.Writer, rows []api.BenchRow) error{
	"md": benchTable, "json": benchJSON, "csv": benchCSV,
	"jsonl": func(io.Writer, []api.BenchRow) error { return nil }, // written one by one
}

func benchJSON(w io.Writer, rows []api.BenchRow) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rows)
}

func benchLines(w io.Writer, rows []api.BenchRow) error {
	e := json.NewEncoder(w)
	for i := range rows {
		if err := e.Encode(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// benchTable says what the machine is and can do, then the results.
func benchTable(w io.Writer, rows []api.BenchRow) error {
	var b strings.Builder
	threads := 0
	for _, r := range rows {
		if r.Threads != threads {
			threads = r.Threads
			fmt.Fprintf(&b, "%s, %d threads: reads %.1f GB/s, multiplies int8 at %s GOPS, kernels %s on %s\n",
				r.CPU, r.Threads, r.ReadGBps, api.Rate(r.Int8GOPS, 0), r.KernelClass, r.KernelPath)
		}
	}
	b.WriteString("\n| model                          |       size |     params | backend    | threads |            test |                  t/s |   GB/s | of read |     GOPS | of int8 |\n")
	b.WriteString("| ------------------------------ | ---------: | ---------: | ---------- | ------: | --------------: | -------------------: | -----: | ------: | -------: | ------: |\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %-30s | %6.2f MiB | %8.2f M | %-10s | %7d | %15s | %20s | %6s | %7s | %8s | %7s |\n", r.Type, float64(r.Size)/(1<<20), float64(r.Params)/1e6,
			r.Backend+" "+r.KernelClass, r.Threads, r.Test(), fmt.Sprintf("%.2f ± %.2f", r.Mean, r.Stddev),
			api.Rate(r.GBps, 2), api.Share(r.ReadShare), api.Rate(r.GOPS, 1), api.Share(r.Int8Share))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func benchCSV(w io.Writer, rows []api.BenchRow) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{
		"model_filename", "model_type", "n_params", "model_size", "n_prompt", "n_gen", "n_depth", "n_threads", "backend", "avg_ts", "stddev_ts",
		"gb_per_s", "read_gb_per_s", "read_share", "gops", "int8_gops", "int8_share", "cpu", "kernel_class", "kernel_path",
	})
	for _, r := range rows {
		f := func(x float64) string { return strconv.FormatFloat(x, 'f', 6, 64) }
		_ = out.Write([]string{
			r.File, r.Type, strconv.FormatInt(r.Params, 10), strconv.FormatInt(r.Size, 10), strconv.Itoa(r.Prompt), strconv.Itoa(r.Gen),
			strconv.Itoa(r.Depth), strconv.Itoa(r.Threads), r.Backend, f(r.Mean), f(r.Stddev),
			f(r.GBps), f(r.ReadGBps), f(r.ReadShare), f(r.GOPS), f(r.Int8GOPS), f(r.Int8Share), r.CPU, r.KernelClass, r.KernelPath,
		})
	}
	out.Flush()
	return out.Error()
}
