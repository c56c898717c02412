package cpu

import (
	"time"

	"rbee/inference/device"
	"rbee/inference/kernel"
)

var _ device.Gauge = (*Device)(nil)

const (
	gaugePasses = 7
	gaugeTime   = 10 * time.Millisecond // of a pass over registers
)

// Gauge measures how fast the threads read and multiply. The first pass of each is a
// warm-up.
func (d *Device) Gauge(bytes int) (l device.Limits) {
	words := kernel.Words(max(bytes/8, 1))
	rounds := 1024
	for range 1 + gaugePasses {
		read := race{lap: func(thread, threads int) int64 {
			from, to := share(len(words), thread, threads)
			kernel.Sum(words[from:to])
			return int64(8 * (to - from))
		}}
		l.ReadGBps = append(l.ReadGBps, d.lap(&read))
		multiply := race{lap: func(int, int) int64 { return 2 * kernel.MulAdds(rounds) }}
		l.Int8GOPS = append(l.Int8GOPS, d.lap(&multiply))
		rounds = longer(rounds, multiply.took)
	}
	l.ReadGBps, l.Int8GOPS = l.ReadGBps[1:], l.Int8GOPS[1:]
	return l
}

// longer is how many rounds take as long as a pass should.
func longer(rounds int, took time.Duration) int {
	n := float64(rounds) * float64(gaugeTime) / float64(max(took, time.Microsecond))
	return int(min(max(n, 1), kernel.MaxRounds))
}

// lap runs a race and returns what it came to, 10⁹ per second.
func (d *Device) lap(r *race) float64 {
	r.done = make([]int64, d.pool.threads)
	d.pool.run(r)
	total := int64(0)
	for _, n := range r.done {
		total += n
	}
	return float64(total) / float64(max(r.took.Nanoseconds(), 1))
}

// A race has all threads begin at once, and takes the time until the last has come in.
type race struct {
	lap  func(thread, threads int) int64 // what the thread has done
	done []int64
	took time.Duration
}

func (r *race) step(b *barrier, thread, threads int) {
	b.wait()
	began := time.Now()
	r.done[thread] = r.lap(thread, threads)
	b.wait()
	if thread == 0 {
		r.took = time.Since(began)
	}
}
