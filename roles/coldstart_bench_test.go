package roles

import (
	"os"
	"strings"
	"testing"
	"time"

	"rbee/roles/fleettest"
)

// BenchmarkColdStart is the time from a command to the first token of its answer, and
// to the end of all that was started for it, with the embedded model and files that are
// in memory: on this machine, and on a node of the fleet that has the program. It
// prints the phases of one run.
func BenchmarkColdStart(b *testing.B) {
	b.Run("localhost", func(b *testing.B) { coldStart(b, newWorld(b), "localhost") })
	b.Run("ssh", func(b *testing.B) {
		if os.Getuid() != 0 {
			b.Skip("only root can make machines of namespaces")
		}
		coldStart(b, makeFleet(b, 1, fleettest.Plain).world, "plain")
	})
}

func coldStart(b *testing.B, w *world, node string) {
	var firsts, ends []float64
	var phases string
	for b.Loop() {
		began := time.Now()
		r := w.start("rbee", "infer", "--verbose", "--node", node, "--temperature", "0", "--max-tokens", "1", "what is a hive?")
		r.speak()
		firsts = append(firsts, time.Since(began).Seconds())
		r.expect(0, "nothing left")
		ends, phases = append(ends, time.Since(began).Seconds()), r.stderr()
	}
	for line := range strings.Lines(phases) {
		if strings.HasPrefix(line, "rbee: ") {
			b.Log(strings.TrimSpace(line))
		}
	}
	b.ReportMetric(median(firsts), "s-to-first-token")
	b.ReportMetric(median(ends), "s-to-the-end")
}
