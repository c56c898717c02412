// Bench-compare measures rbee against llama.cpp's llama-bench and prints tables in
// Markdown. The two run in turns on the same machine, file and threads, for the
// speed of a machine drifts: what counts is the ratio within a turn, of which the
// table has median, least and most. Above 1 rbee is faster. Every setting of the
// rival runs in every turn, and each line of the table is against the one whose
// median is best there. Beside each speed stands its share of what the machine can
// do at most, which rbee measures in the same run: of a prompt that of multiplying
// int8 values, of a generation that of reading memory.
//
//	LLAMA_BENCH=…/llama-bench go run ./.ci/bench-compare [--self] MODEL.gguf …
//
// With LLAMA_SERVER the servers are compared, too: from the start to the first
// /health or /ready that is well, and the most memory they had until they had
// answered once. With --self the rival runs against itself: the ratios show the noise.
//
// Of the environment it reads, besides, RBEE (./rbee), MODELS, PROMPT (512), GEN (128),
// DEPTH (0,1024; these three may be lists), THREADS (a list with spaces; one, and all
// cores), REPS (2), PAIRS (5), RIVAL (the rival's settings, separated by semicolons),
// OUT (a file with the marks that tables go between), LOCK (a file that keeps
// measurements on one machine apart), MIN_PREFILL and MIN_DECODE (ratios below which
// it exits 1).
//
// Nothing holds the other cores while one thread is measured: on the threads of one
// core whatever spins there would take from what is measured. The machine must be
// quiet.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// settings are what the environment says.
type settings struct {
	rbee, rival, server   string
	prompt, gen, depth    string
	threads               []string
	repeats, pairs        int
	rivalFlags            []string // one setting each
	lock, out             string
	minPrefill, minDecode float64
	self                  bool
	models                []string
}

func read() (s settings, err error) {
	env := func(key, fallback string) string {
		if v, ok := os.LookupEnv(key); ok {
			return v
		}
		return fallback
	}
	s = settings{
		rbee: env("RBEE", "./rbee"), rival: env("LLAMA_BENCH", ""), server: env("LLAMA_SERVER", ""), lock: env("LOCK", ""), out: env("OUT", ""),
		prompt: env("PROMPT", "512"), gen: env("GEN", "128"), depth: env("DEPTH", "0,1024"),
		threads:    strings.Fields(env("THREADS", oneAndAll())),
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
	return s, s.publish("") // what cannot be written is said before hours are spent
}

// oneAndAll are one thread, and one for each core.
func oneAndAll() string {
	return strings.Join(slices.Compact([]string{"1", strconv.Itoa(runtime.NumCPU())}), " ")
}

func main() { os.Exit(status()) }

// status measures, and is the exit status: 1 when a floor was missed.
func status() int {
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
		return 2
	}
	if slow {
		return 1
	}
	return 0
}

// run measures everything, publishes after each part what there is so far, and prints
// all at the end. slow says that a floor was missed.
func (s *settings) run(ctx context.Context) (slow bool, err error) {
	var t tables
	defer func() { fmt.Print(s.text(t)) }()
	for _, model := range s.models {
		for _, threads := range s.threads {
			more, err := s.compare(ctx, model, threads)
			if err != nil {
				return false, err
			}
			t.cells = append(t.cells, more...)
			if err := s.publish(s.text(t)); err != nil {
				return false, err
			}
		}
		if s.server == "" {
			continue
		}
		one, err := s.compareServers(ctx, model)
		if err != nil {
			return false, err
		}
		t.servers = append(t.servers, one)
		if err := s.publish(s.text(t)); err != nil {
			return false, err
		}
	}
	return slices.ContainsFunc(t.cells, s.slow), nil
}
