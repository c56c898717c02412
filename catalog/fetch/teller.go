package fetch

import "time"

// A teller makes the progress of a plan from that of its files.
type teller struct {
	tell   func(Progress)
	before int64 // bytes of the files that are here
	after  int64 // bytes of the files of the plan; 0: not known
	alone  bool  // it is one file
	seen   []sample
}

// A sample is how much was here at a time.
type sample struct {
	at   time.Time
	done int64
}

// window is what the rate is of.
const window = 5 * time.Second

func newTeller(plan Plan, tell func(Progress)) *teller {
	t := &teller{tell: tell, alone: len(plan.Files) == 1}
	for _, file := range plan.Files {
		if file.Size < 0 {
			t.after = 0
			break
		}
		t.after += file.Size
	}
	return t
}

// finished counts a file in that is here.
func (t *teller) finished(size int64) { t.before += size }

// say tells how far the current file is.
func (t *teller) say(stage string, done, total int64) {
	if t.tell == nil {
		return
	}
	p := Progress{Stage: stage, Done: t.before + done, Total: t.after}
	if p.Total == 0 && t.alone {
		p.Total = total
	}
	p.Rate = t.rate(time.Now(), p.Done)
	t.tell(p)
}

// rate is of the last seconds; what was here before is not counted, and what was
// thrown away starts it anew.
func (t *teller) rate(now time.Time, done int64) int64 {
	if n := len(t.seen); n > 0 && done < t.seen[n-1].done {
		t.seen = nil
	}
	t.seen = append(t.seen, sample{now, done})
	for len(t.seen) > 2 && now.Sub(t.seen[0].at) > window {
		t.seen = t.seen[1:]
	}
	first := t.seen[0]
	took := now.Sub(first.at).Seconds()
	if took <= 0 {
		return 0
	}
	return int64(float64(done-first.done) / took)
}
