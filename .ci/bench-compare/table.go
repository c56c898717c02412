package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// tables are all there is to publish.
type tables struct {
	cells   []*cell
	servers []pair
}

// best is the setting of the rival whose median is best.
func (c *cell) best() (i int) {
	for j := range c.rival {
		if median(c.rival[j]) > median(c.rival[i]) {
			i = j
		}
	}
	return i
}

// ratios are ours to the rival's best setting, of each turn.
func (c *cell) ratios() (list []float64) {
	for turn, rival := range c.rival[c.best()] {
		list = append(list, c.rbee[turn]/rival)
	}
	return list
}

// floor is the ratio that must not be missed.
func (s *settings) floor(c *cell) float64 {
	if c.prefill {
		return s.minPrefill
	}
	return s.minDecode
}

func (s *settings) slow(c *cell) bool { return median(c.ratios()) < s.floor(c) }

// text is the tables in Markdown.
func (s *settings) text(t tables) string {
	var b strings.Builder
	first := "rbee"
	if s.self {
		first = "llama.cpp, first setting"
	}
	fmt.Fprintf(&b, "%s: %d turns of %d repetitions, %s.\n\n", time.Now().Format(time.DateOnly), s.pairs, s.repeats, cpu())
	fmt.Fprintf(&b, "| model | threads | test | %s t/s | of limit | llama.cpp t/s | of limit | its best setting | ratio | least – most |\n", first)
	b.WriteString("|---|--:|---|--:|--:|--:|--:|---|--:|--:|\n")
	for _, c := range t.cells {
		ratios, note := c.ratios(), ""
		if s.slow(c) {
			note = fmt.Sprintf(" (below %g)", s.floor(c))
		}
		ours, rival := median(c.rbee), median(c.rival[c.best()])
		share := median(c.share)
		fmt.Fprintf(&b, "| %s | %s | %s | %.1f | %s | %.1f | %s | `%s` | **%.3f**%s | %.3f – %.3f |\n", c.model, c.threads, c.test,
			ours, part(share), rival, part(share*rival/ours), strings.TrimSpace(s.rivalFlags[c.best()]),
			median(ratios), note, slices.Min(ratios), slices.Max(ratios))
	}
	if len(t.servers) > 0 {
		b.WriteString(serverTable(t.servers))
	}
	return b.String()
}

// serverTable is the table of the servers: below 1 rbee takes less.
func serverTable(list []pair) string {
	var b strings.Builder
	b.WriteString("\nServers, a context of " + serverContext + " tokens: from the start to loaded, and the most memory. Below 1 rbee takes less.\n\n")
	b.WriteString("| model | rbee s | llama-server s | ratio | least – most | rbee MiB | llama-server MiB | ratio | least – most |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, p := range list {
		fmt.Fprintf(&b, "| %s", p.model)
		for _, m := range []struct {
			form        string
			rbee, rival []float64
		}{{"%.2f", p.rbee.seconds, p.rival.seconds}, {"%.0f", p.rbee.mebibytes, p.rival.mebibytes}} {
			var ratios []float64
			for turn := range m.rbee {
				ratios = append(ratios, m.rbee[turn]/m.rival[turn])
			}
			fmt.Fprintf(&b, " | "+m.form+" | "+m.form+" | **%.3f** | %.3f – %.3f", median(m.rbee), median(m.rival), median(ratios), slices.Min(ratios), slices.Max(ratios))
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

// part is a share for people to read.
func part(share float64) string {
	if share <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

// The marks between which a file has the tables.
const (
	begin = "<!-- tables: written by make bench-compare -->\n"
	end   = "<!-- end of tables -->\n"
)

// publish writes the tables into the file of OUT, if there is one; no text only looks
// whether that can be done.
func (s *settings) publish(text string) error {
	if s.out == "" {
		return nil
	}
	b, err := os.ReadFile(s.out)
	if err != nil {
		return err
	}
	head, rest, begins := strings.Cut(string(b), begin)
	_, tail, ends := strings.Cut(rest, end)
	if !begins || !ends {
		return fmt.Errorf("%s has no %q and %q", s.out, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	if text == "" {
		return nil
	}
	return os.WriteFile(s.out, []byte(head+begin+text+end+tail), 0o644)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
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
