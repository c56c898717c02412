package roles

import (
	"context"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/secure"
)

// BenchmarkRelay is what the way through the queen costs: the same answers from the
// same worker, by turns directly and through her, in one run. It reports the ratio
// of tokens per second and the difference of the times to the first token, each the
// median of the turns; and her own processor time, which a busy machine does not change.
// The tiny model makes tokens faster than any real one.
func BenchmarkRelay(b *testing.B) {
	b.Run("tiny", func(b *testing.B) { relays(b, bigModel(b, 2)) })
	b.Run("gemma-3-270m", func(b *testing.B) {
		path := os.Getenv("RBEE_GEMMA")
		if path == "" || path == "none" {
			b.Skip("RBEE_GEMMA names no file: want what .ci/gemma prints")
		}
		relays(b, path)
	})
}

func relays(b *testing.B, file string) {
	for _, c := range []struct {
		name            string
		streams, tokens int
	}{{"1", 1, 200}, {"64", 64, 20}, {"one-token", 1, 1}} {
		b.Run(c.name, func(b *testing.B) { relay(b, file, c.streams, c.tokens) })
	}
}

func relay(b *testing.B, file string, streams, tokens int) {
	w := newWorld(b)
	q := w.queen(nil)
	model := q.imported(file)
	worker, err := q.client.Load(b.Context(), api.LoadRequest{Model: core.ModelRef(model), ContextLength: 512, Slots: streams})
	if err != nil {
		b.Fatal(err)
	}
	direct := client.New(worker.URL, client.Options{})
	defer direct.Close()
	prompt, zero := "a b c", 0.0
	r := api.TaskRequest{Model: core.ModelRef(model), Prompt: &prompt, MaxTokens: &tokens, Temperature: &zero, IgnoreEOS: true, ContextLength: 512}
	ways := []func(context.Context) iter.Seq2[api.Numbered, error]{
		func(ctx context.Context) iter.Seq2[api.Numbered, error] {
			return direct.Execute(ctx, api.ExecuteRequest{TaskRequest: r, JobID: core.TaskID(secure.RandomID())})
		},
		func(ctx context.Context) iter.Seq2[api.Numbered, error] { return q.client.Task(ctx, r) },
	}
	var rates, firsts []float64
	before := processorTime(b, q.cmd.Process.Pid)
	for turn := 0; b.Loop(); turn++ {
		var rate, first [2]float64
		for k := range ways {
			i := (turn + k) % len(ways) // who comes second may find something warm
			rate[i], first[i] = together(b, streams, ways[i])
		}
		rates, firsts = append(rates, rate[1]/rate[0]), append(firsts, 1000*(first[1]-first[0]))
	}
	busy := processorTime(b, q.cmd.Process.Pid) - before
	b.ReportMetric(median(rates), "tokens/s-ratio")
	b.ReportMetric(median(firsts), "ms-more-to-first-token")
	b.ReportMetric(float64(busy.Microseconds())/float64(b.N*streams*tokens), "queen-µs/token")
	signal(b, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// processorTime is what a process has used, to ten milliseconds.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name may hold anything
	var ticks time.Duration
	for _, field := range strings.Fields(after)[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// together runs answers at the same time. It returns all their tokens by the time
// they took, and the median of the seconds to their first ones.
func together(b *testing.B, streams int, way func(context.Context) iter.Seq2[api.Numbered, error]) (rate, first float64) {
	b.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	var count int
	var firsts []float64
	began := time.Now()
	for range streams {
		all.Go(func() {
			n, to := 0, 0.0
			for ev, err := range way(b.Context()) {
				if err != nil {
					b.Error(err)
					return
				}
				if _, ok := ev.Event.(*api.Token); ok {
					if n++; n == 1 {
						to = time.Since(began).Seconds()
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			count, firsts = count+n, append(firsts, to)
		})
	}
	all.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return float64(count) / time.Since(began).Seconds(), median(firsts)
}
