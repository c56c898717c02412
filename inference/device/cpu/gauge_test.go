package cpu

import (
	"testing"
	"time"

	"rbee/inference/device"
	"rbee/inference/kernel"
)

// Every thread takes part once, and its time is that of the whole.
func TestRace(t *testing.T) {
	for threads := 1; threads <= 4; threads++ {
		d := Open(threads, "")
		r := race{lap: func(thread, threads int) int64 { return int64(100*threads + thread) }}
		rate := d.lap(&r)
		total := int64(0)
		for i, got := range r.done {
			if want := int64(100*threads + i); got != want {
				t.Errorf("%d threads, thread %d: got %d, want %d", threads, i, got, want)
			}
			total += r.done[i]
		}
		if r.took <= 0 || rate != float64(total)/float64(r.took.Nanoseconds()) {
			t.Errorf("%d threads: %g in %v", threads, rate, r.took)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestGauge(t *testing.T) {
	d := Open(2, "")
	defer d.Close()
	l := device.Gauge(d).Gauge(1 << 20)
	for name, list := range map[string][]float64{"read": l.ReadGBps, "int8": l.Int8GOPS} {
		if len(list) != gaugePasses {
			t.Errorf("%s: got %d passes, want %d", name, len(list), gaugePasses)
		}
		for _, v := range list {
			if !(v > 0) && (name == "read" || kernel.MulAdds(1) > 0) {
				t.Errorf("%s: got %v", name, list)
			}
		}
	}
}

func TestLonger(t *testing.T) {
	tests := map[string]struct {
		rounds int
		took   time.Duration
		want   int
	}{
		"ten times as long": {1000, time.Millisecond, 10000},
		"half as long":      {1000, 20 * time.Millisecond, 500},
		"at least one":      {1, time.Hour, 1},
		"at most":           {1 << 24, time.Nanosecond, 1 << 24},
	}
	for name, tt := range tests {
		if got := longer(tt.rounds, tt.took); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}
