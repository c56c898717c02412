// Bench-compare measures rbee against llama.cpp's llama-bench and prints a table in
// Markdown. The two run in turns on the same machine, file and threads, for the
// speed of a machine drifts: what counts is the ratio within a turn, of which the
// table has median, least and most. Above 1 rbee is faster. Every setting of the
// rival runs in every turn, and each line of the table is against the one whose
// median is best there.
//
//	LLAMA_BENCH=…/llama-bench go run ./.ci/bench-compare [--self] MODEL.gguf …
//
// With --self the rival runs against itself: the ratios show the noise. Of the
// environment it reads, besides, RBEE (./rbee), MODELS, PROMPT (512), GEN (128), DEPTH
// (0; these three may be lists: 0,1024), THREADS (a list with spaces; all cores), REPS
// (2), PAIRS (5), RIVAL (the rival's settings, separated by semicolons), LOCK (a file
// that keeps measurements on one machine apart), MIN_PREFILL and MIN_DECODE (ratios
// below which it exits 1).
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// settings are what the environment says.
type settings struct {
	rbee, rival           string
	prompt, gen, depth    string
	threads               []string
	repeats, pairs        int
	rivalFlags            []string // one setting each
	lock                  string
	minPrefill, minDecode float64
	self                  bool
	models                []string
	bandwidth             float64 // GB/s that a loop reads with all threads
}

func read() (s settings, err error) {
	env := func(key, fallback string) string {
		if v, ok := os.LookupEnv(key); ok {
			return v
		}
		return fallback
	}
	s = settings{
		rbee: env("RBEE", "./rbee"), rival: env("LLAMA_BENCH", ""), lock: env("LOCK", ""),
		prompt: env("PROMPT", "512"), gen: env("GEN", "128"), depth: env("DEPTH", "0"),
		threads:    strings.Fields(env("THREADS", strconv.Itoa(runtime.NumCPU()))),
		rivalFlags: strings.Split(env("RIVAL", "--repack 1 -fa 0;--repack 0 -fa 0;--repack 1 -fa 1;--repack 0 -fa 1"), ";"),
	}
	for key, to := range map[string]*int{"REPS": &s.repeats, "PAIRS": &s.pairs} {
		if *to, err = strconv.Atoi(env(key, map[string]string{"REPS": "2", "PAIRS": "5"}[key])); err != nil || *to < 1 {
			return s, fmt.Errorf("%s is no number above 0", key)
		}
	}
	for key, to := range map[string]*float64{"MIN_PREFILL": &s.minPrefill, "MIN_DECODE": &s.minDecode} {
		if *to, err = strconv.ParseFloat(env(key, "0"), 64); err != nil {
			return s, fmt.Errorf("%s is no number", key)
		}
	}
	for _, a := range append(os.Args[1:], strings.Fields(env("MODELS", ""))...) {
		if a == "--self" {
			s.self = true
			continue
		}
		s.models = append(s.models, a)
	}
	switch {
	case s.rival == "":
		return s, fmt.Errorf("LLAMA_BENCH is not set: the path of llama.cpp's llama-bench")
	case len(s.models) == 0:
		return s, fmt.Errorf("no model: give files as arguments or in MODELS")
	}
	return s, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s, err := read()
	var slow bool
	if err == nil {
		slow, err = s.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		fmt.Fprintln(os.Stderr, "Try: make build && LLAMA_BENCH=/path/llama-bench MODELS=model.gguf make bench-compare")
		os.Exit(2)
	}
	if slow {
		os.Exit(1)
	}
}

// A cell is one line of the table: what was measured, and tokens per second of each
// turn, of rbee and of each setting of the rival.
type cell struct {
	model, threads, test string
	prefill              bool
	rbee                 []float64
	rival                [][]float64
}

// run measures everything and prints the table. slow says that a floor was missed.
func (s *settings) run(ctx context.Context) (slow bool, err error) {
	s.bandwidth = bandwidth(runtime.NumCPU())
	var cells []*cell
	for _, model := range s.models {
		for _, threads := range s.threads {
			more, err := s.compare(ctx, model, threads)
			if err != nil {
				return false, err
			}
			cells = append(cells, more...)
		}
	}
	return s.table(cells), nil
}

// compare runs all turns of one model and one number of threads.
func (s *settings) compare(ctx context.Context, model, threads string) (cells []*cell, err error) {
	args := []string{"-m", model, "-p", s.prompt, "-n", s.gen, "-d", s.depth, "-t", threads, "-r", strconv.Itoa(s.repeats), "-o", "json"}
	ours := func() (map[string]float64, error) {
		if s.self {
			return s.measure(ctx, s.rival, append(args, strings.Fields(s.rivalFlags[0])...))
		}
		return s.measure(ctx, s.rbee, append([]string{"worker", "bench"}, args...))
	}
	place := map[string]*cell{}
	for turn := range s.pairs {
		fmt.Fprintf(os.Stderr, "%s, %s threads, turn %d of %d\n", filepath.Base(model), threads, turn+1, s.pairs)
		got, err := ours()
		if err != nil {
			return nil, err
		}
		for _, test := range sortedKeys(got) {
			if place[test] == nil {
				place[test] = &cell{model: filepath.Base(model), threads: threads, test: test, prefill: strings.HasPrefix(test, "pp"), rival: make([][]float64, len(s.rivalFlags))}
				cells = append(cells, place[test])
			}
			place[test].rbee = append(place[test].rbee, got[test])
		}
		for i, flags := range s.rivalFlags {
			got, err := s.measure(ctx, s.rival, append(slices.Clone(args), strings.Fields(flags)...))
			if err != nil {
				return nil, err
			}
			for test, c := range place {
				c.rival[i] = append(c.rival[i], got[test])
			}
		}
	}
	return cells, nil
}

// measure runs a benchmark and returns tokens per second by test.
func (s *settings) measure(ctx context.Context, program string, args []string) (map[string]float64, error) {
	if s.lock != "" {
		f, err := os.OpenFile(s.lock, os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			return nil, err
		}
		defer f.Close() // gives the lock back
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			return nil, err
		}
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		return nil, fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	var rows []struct {
		Prompt int     `json:"n_prompt"`
		Gen    int     `json:"n_gen"`
		Depth  int     `json:"n_depth"`
		Mean   float64 `json:"avg_ts"`
	}
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
		return nil, fmt.Errorf("%s: its output: %w", program, err)
	}
	got := map[string]float64{}
	for _, r := range rows {
		test := fmt.Sprintf("pp%d", r.Prompt)
		if r.Gen > 0 {
			test = fmt.Sprintf("tg%d", r.Gen)
		}
		if r.Depth > 0 {
			test += fmt.Sprintf(" @ d%d", r.Depth)
		}
		got[test] = r.Mean
	}
	return got, nil
}

// table prints the cells.
func (s *settings) table(cells []*cell) (slow bool) {
	first := "rbee"
	if s.self {
		first = "llama.cpp, first setting"
	}
	fmt.Printf("%d turns of %d repetitions, %s, a loop over memory reads %.0f GB/s.\n\n", s.pairs, s.repeats, cpu(), s.bandwidth)
	fmt.Printf("| model | threads | test | %s t/s | llama.cpp t/s | its best setting | ratio | least – most |\n", first)
	fmt.Println("|---|--:|---|--:|--:|---|--:|--:|")
	for _, c := range cells {
		best := 0
		for i := range c.rival {
			if median(c.rival[i]) > median(c.rival[best]) {
				best = i
			}
		}
		var ratios []float64
		for turn, a := range c.rbee {
			ratios = append(ratios, a/c.rival[best][turn])
		}
		note, floor := "", s.minDecode
		if c.prefill {
			floor = s.minPrefill
		}
		if median(ratios) < floor {
			slow, note = true, fmt.Sprintf(" (below %g)", floor)
		}
		fmt.Printf("| %s | %s | %s | %.1f | %.1f | `%s` | **%.3f**%s | %.3f – %.3f |\n", c.model, c.threads, c.test, median(c.rbee), median(c.rival[best]),
			strings.TrimSpace(s.rivalFlags[best]), median(ratios), note, slices.Min(ratios), slices.Max(ratios))
	}
	return slow
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func sortedKeys(m map[string]float64) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// bandwidth is how many GB/s so many threads read of a block no cache holds.
func bandwidth(threads int) float64 {
	const words = 32 << 20 // 256 MiB
	block := make([]uint64, words)
	for i := range block {
		block[i] = uint64(i)
	}
	best := time.Duration(1 << 62)
	sums := make([]uint64, threads)
	for range 5 {
		began := time.Now()
		var all sync.WaitGroup
		for t := range threads {
			all.Go(func() {
				var a, b, c, d uint64
				for part := block[t*words/threads : (t+1)*words/threads]; len(part) >= 4; part = part[4:] {
					a, b, c, d = a+part[0], b+part[1], c+part[2], d+part[3]
				}
				sums[t] = a + b + c + d
			})
		}
		all.Wait()
		best = min(best, time.Since(began))
	}
	return 8 * words / best.Seconds() / 1e9
}

// cpu is what the processor is called.
func cpu() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.SplitSeq(string(b), "\n") {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}
