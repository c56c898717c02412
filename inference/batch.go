package inference

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rbee/inference/model"
	"rbee/inference/sample"
)

// chunk is how many tokens of a prompt one step takes at most, so that a long
// prompt never holds up the others' tokens for long.
const chunk = 128

// A job is one answer under way. Run owns it from submit to the last message.
type job struct {
	ctx     context.Context
	tokens  []int32 // the prompt, then the answer
	prompt  int     // how many are the prompt
	max     int     // tokens of the answer
	eog     bool    // an ending token ends it
	sampler *sample.Sampler
	logits  bool // of each step are wanted
	probe   bool // log-probabilities are wanted
	top     int  // of so many of the likeliest tokens, too

	seq  *model.Sequence
	done int         // tokens that are in the cache
	out  chan update // has room for everything: the loop never waits
}

// An update is what the loop says of a job: a token, or its end.
type update struct {
	id     int32
	logits []float32 // a copy, when they are wanted
	probed *Probed   // when they are wanted
	at     time.Time
	end    bool
	eog    bool // the token ends the answer and is no part of it
	err    error
}

// Run advances all answers, together, until ctx is done. It returns when every
// answer has been told. Run is called once.
func (e *Engine) Run(ctx context.Context) error {
	defer close(e.ended)
	l := &loop{e: e}
	for {
		if err := l.admit(ctx); err != nil {
			l.endAll(fmt.Errorf("%w: %w", ErrClosed, err))
			return nil
		}
		l.drop()
		if len(l.jobs) == 0 {
			continue
		}
		if err := l.step(ctx); err != nil {
			if ctx.Err() == nil { // not our end: the device failed
				l.endAll(err)
			}
		}
	}
}

// A loop is the state of Run.
type loop struct {
	e     *Engine
	jobs  []*job
	batch []model.Input
	of    []*job // of each input of the batch that gives logits
}

// admit takes new jobs: it waits for one when there is nothing to do.
func (l *loop) admit(ctx context.Context) error {
	for {
		j, v := l.next(ctx)
		if v != nil {
			v.compute(ctx, l.e)
			continue
		}
		if ctx.Err() != nil {
			if j != nil {
				l.jobs = append(l.jobs, j)
			}
			return context.Cause(ctx)
		}
		if j == nil {
			return nil
		}
		l.begin(j)
	}
}

// next returns a new job or text to embed, if there is one; with nothing to do it
// waits.
func (l *loop) next(ctx context.Context) (j *job, v *embedding) {
	if len(l.jobs) == 0 {
		select {
		case j = <-l.e.submit:
		case v = <-l.e.embeds:
		case <-ctx.Done():
		}
		return j, v
	}
	select {
	case j = <-l.e.submit:
	case v = <-l.e.embeds:
	default:
	}
	return j, v
}

func (l *loop) begin(j *job) {
	l.jobs = append(l.jobs, j)
	seq, err := l.e.model.NewSequence()
	if err != nil { // there is one for each slot
		l.end(j, update{err: err})
		return
	}
	j.seq = seq
}

// drop ends the jobs whose reader is gone.
func (l *loop) drop() {
	for _, j := range slices.Clone(l.jobs) {
		if j.ctx.Err() != nil {
			l.end(j, update{err: context.Cause(j.ctx)})
		}
	}
}

// end says the last word of a job and gives its slot back.
func (l *loop) end(j *job, u update) {
	u.end = true
	if j.seq != nil {
		j.seq.Close()
	}
	l.jobs = slices.DeleteFunc(l.jobs, func(o *job) bool { return o == j })
	l.e.slots <- struct{}{} // before the word, so that who hears it finds the slot
	j.out <- u
}

func (l *loop) endAll(err error) {
	for _, j := range slices.Clone(l.jobs) {
		l.end(j, update{err: err})
	}
}

// step advances every job: one token each, or a piece of its prompt.
func (l *loop) step(ctx context.Context) error {
	l.batch, l.of = l.batch[:0], l.of[:0]
	room := l.e.model.MaxBatch() - len(l.jobs) // every job gets one token at least
	for _, j := range l.jobs {
		n := min(len(j.tokens)-j.done, chunk, room+1)
		room -= n - 1
		in := model.Input{Seq: j.seq, Tokens: j.tokens[j.done:][:n], Done: j.ctx.Done()}
		if j.done += n; j.done == len(j.tokens) {
			in.Logits = model.Last
			l.of = append(l.of, j)
		}
		l.batch = append(l.batch, in)
	}
	logits, err := l.e.model.Step(ctx, l.batch)
	if errors.Is(err, model.ErrAbandoned) { // all of them end before the next step
		return nil
	}
	if err != nil {
		return fmt.Errorf("inference: %w", err)
	}
	now := time.Now()
	for i, j := range slices.Clone(l.of) {
		l.choose(j, logits[i], now)
	}
	return nil
}

// choose picks the job's next token.
func (l *loop) choose(j *job, logits []float32, now time.Time) {
	answered := len(j.tokens) - j.prompt
	id, err := j.sampler.Next(logits, answered, j.tokens, answered)
	if err != nil {
		l.end(j, update{err: err})
		return
	}
	u := update{id: id, at: now}
	if j.logits {
		u.logits = slices.Clone(logits)
	}
	if j.probe {
		lp, top := sample.Probe(nil, logits, id, j.top)
		u.probed = &Probed{lp, top}
	}
	if j.eog && l.e.tok.IsEOG(id) {
		u.eog = true
		l.end(j, u)
		return
	}
	j.tokens = append(j.tokens, id)
	if answered+1 == j.max {
		l.end(j, u)
		return
	}
	j.out <- u
}
