package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A cell is one line of the table: what was measured, and tokens per second of each
// turn, of rbee and of each setting of the rival.
type cell struct {
	model, threads, test string
	prefill              bool
	rbee, share          []float64 // of the machine's limit, 0: it says nothing
	rival                [][]float64
}

// A row is a result of either program.
type row struct {
	Prompt    int     `json:"n_prompt"`
	Gen       int     `json:"n_gen"`
	Depth     int     `json:"n_depth"`
	Mean      float64 `json:"avg_ts"`
	ReadShare float64 `json:"read_share"`
	Int8Share float64 `json:"int8_share"`
}

func (r row) test() string {
	test := fmt.Sprintf("pp%d", r.Prompt)
	if r.Gen > 0 {
		test = fmt.Sprintf("tg%d", r.Gen)
	}
	if r.Depth > 0 {
		test += fmt.Sprintf(" @ d%d", r.Depth)
	}
	return test
}

// compare runs all turns of one model and one number of threads.
func (s *settings) compare(ctx context.Context, model, threads string) (cells []*cell, err error) {
	args := []string{"-m", model, "-p", s.prompt, "-n", s.gen, "-d", s.depth, "-t", threads, "-r", strconv.Itoa(s.repeats), "-o", "json"}
	ours := func() (map[string]row, error) {
		if s.self {
			return s.measure(ctx, s.rival, append(slices.Clone(args), strings.Fields(s.rivalFlags[0])...))
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
		for _, test := range slices.Sorted(maps.Keys(got)) {
			if place[test] == nil {
				place[test] = &cell{model: filepath.Base(model), threads: threads, test: test, prefill: strings.HasPrefix(test, "pp"), rival: make([][]float64, len(s.rivalFlags))}
				cells = append(cells, place[test])
			}
			c, r := place[test], got[test]
			c.rbee, c.share = append(c.rbee, r.Mean), append(c.share, max(r.ReadShare, r.Int8Share))
		}
		for i, flags := range s.rivalFlags {
			got, err := s.measure(ctx, s.rival, append(slices.Clone(args), strings.Fields(flags)...))
			if err != nil {
				return nil, err
			}
			for test, c := range place {
				c.rival[i] = append(c.rival[i], got[test].Mean)
			}
		}
	}
	return cells, nil
}

// locked runs f while no other measurement runs.
func (s *settings) locked(f func() error) error {
	if s.lock == "" {
		return f()
	}
	file, err := os.OpenFile(s.lock, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	defer file.Close() // gives the lock back
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	return f()
}

// measure runs a benchmark and returns its results by test.
func (s *settings) measure(ctx context.Context, program string, args []string) (map[string]row, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := s.locked(cmd.Run); err != nil {
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		return nil, fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	var rows []row
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
		return nil, fmt.Errorf("%s: its output: %w", program, err)
	}
	got := map[string]row{}
	for _, r := range rows {
		got[r.test()] = r
	}
	return got, nil
}
