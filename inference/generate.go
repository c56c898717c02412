package inference

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"rbee/inference/sample"
	"rbee/inference/tokenizer"
)

// An Event is a piece of an answer. Exactly one field is set: Begun first, then
// Tokens, then Result.
type Event struct {
	Begun  *Begun
	Token  *Token
	Result *Result
}

// Begun says that the prompt is being computed.
type Begun struct {
	PromptTokens int
	Untemplated  bool // the model has no chat template: the text was taken as it is
}

// A Token is a token of the answer with the text that became certain by it. Text
// is "" while a character or a stop string may be incomplete.
type Token struct {
	ID     int32
	Index  int
	Text   string
	Logits []float32 // what it was chosen from, only when asked for
	Probed *Probed   // only when asked for
}

// Probed is a token's log-probability in the model's distribution, before biases,
// penalties, temperature and whatever else the choice was made by, and those of the
// likeliest tokens, the likeliest first.
type Probed struct {
	Logprob float64
	Top     []Ranked
}

// A Ranked is a token with its logit or log-probability.
type Ranked = sample.Ranked

// TopLogits returns the n highest logits, the highest first.
func TopLogits(logits []float32, n int) []Ranked { return sample.Top(nil, logits, n) }

// Piece returns the bytes that a token of an answer spells.
func (e *Engine) Piece(id int32) []byte { return e.tok.Piece(id, false) }

// StopReason is why an answer ended.
type StopReason int

// The reasons.
const (
	EndOfText StopReason = iota // the model ended it
	MaxTokens                   // as many as were asked for, or the context is full
	StopText                    // a stop string
)

// A Result closes an answer. Tail is text that was held back to the end.
type Result struct {
	Tail         string
	Reason       StopReason
	Stop         string // the stop string
	PromptTokens int
	AnswerTokens int
	Prefill      time.Duration // from the start to the first token
	Decode       time.Duration // from the first token to the end
	Seed         uint64
}

// Generate answers a request. It fails at once with ErrNoSlot when all slots are
// busy, and before any work with a *ContextError when the prompt does not fit.
// When ctx is done, or the caller breaks off, the answer ends within a step. Its
// slot is free again when the iteration is over.
func (e *Engine) Generate(ctx context.Context, r Request) iter.Seq2[Event, error] {
	return e.generate(ctx, r, false)
}

// GenerateLogits is Generate with the logits that each token was chosen from.
func (e *Engine) GenerateLogits(ctx context.Context, r Request) iter.Seq2[Event, error] {
	return e.generate(ctx, r, true)
}

func (e *Engine) generate(ctx context.Context, r Request, logits bool) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := e.answers(); err != nil {
			yield(Event{}, err)
			return
		}
		p, err := e.Prepare(r)
		if err == nil && len(p.Tokens) >= e.info.ContextLength {
			err = &ContextError{Need: len(p.Tokens) + 1, Have: e.info.ContextLength}
		}
		if err != nil {
			yield(Event{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		began := time.Now()
		j, err := e.begin(ctx, r, p, logits)
		if err != nil {
			yield(Event{}, err)
			return
		}
		a := &answer{e: e, job: j, leave: cancel, began: began, stream: e.tok.NewStream(), stops: newStops(r.Stop), seed: r.Sample.Seed}
		defer a.finish()
		if yield(Event{Begun: &Begun{len(p.Tokens), p.Untemplated}}, nil) {
			a.follow(yield)
		}
	}
}

// answers is an error for a model that gives no logits.
func (e *Engine) answers() error {
	if !e.model.Config().Answers() {
		return fmt.Errorf("%w: an answer of a %s model, which gives vectors of texts only", ErrUnsupported, e.info.Architecture)
	}
	return nil
}

// begin takes a slot and hands the job to the loop.
func (e *Engine) begin(ctx context.Context, r Request, p Prompt, logits bool) (*job, error) {
	select {
	case <-e.slots:
	default:
		return nil, ErrNoSlot
	}
	limit := e.info.ContextLength - len(p.Tokens)
	if r.MaxTokens > 0 {
		limit = min(limit, r.MaxTokens)
	}
	j := &job{
		ctx: ctx, tokens: append(make([]int32, 0, len(p.Tokens)+limit), p.Tokens...), prompt: len(p.Tokens), max: limit,
		eog: !r.IgnoreEOG, sampler: sample.New(r.Sample), logits: logits, probe: r.Logprobs, top: r.TopN, out: make(chan update, limit+1),
	}
	select {
	case e.submit <- j:
		return j, nil
	case <-e.ended:
		e.slots <- struct{}{}
		return nil, ErrClosed
	case <-ctx.Done():
		e.slots <- struct{}{}
		return nil, fmt.Errorf("inference: %w", context.Cause(ctx))
	}
}

// An answer is the reader's side of a job: it makes text of its tokens.
type answer struct {
	e      *Engine
	job    *job
	leave  context.CancelFunc // ends the job
	over   bool               // the loop has said its last word
	began  time.Time
	first  time.Time // of the first token
	count  int
	stream *tokenizer.Stream
	stops  *stops
	seed   uint64
}

// follow yields the job's tokens and its result.
func (a *answer) follow(yield func(Event, error) bool) {
	for u := range a.updates() {
		if u.err != nil {
			yield(Event{}, fmt.Errorf("inference: %w", u.err))
			return
		}
		if a.first.IsZero() {
			a.first = u.at
		}
		if u.eog {
			yield(Event{Result: a.result(EndOfText, u.at)}, nil)
			return
		}
		text, stop := a.stops.push(a.stream.Push(u.id))
		t := &Token{ID: u.id, Index: a.count, Text: text, Logits: u.logits, Probed: u.probed}
		a.count++
		if !yield(Event{Token: t}, nil) {
			return
		}
		switch {
		case stop != "":
			r := a.result(StopText, u.at)
			r.Tail, r.Stop = "", stop
			a.finish() // who hears of the end finds the slot free
			yield(Event{Result: r}, nil)
			return
		case u.end:
			yield(Event{Result: a.result(MaxTokens, u.at)}, nil)
			return
		}
	}
}

// updates yields what the loop says, to the last word, which it says whatever happens.
func (a *answer) updates() iter.Seq[update] {
	return func(yield func(update) bool) {
		for !a.over {
			u := <-a.job.out
			a.over = u.end
			if !yield(u) {
				return
			}
		}
	}
}

// finish ends the job if it still runs, and returns when its slot is free.
func (a *answer) finish() {
	a.leave()
	for range a.updates() { // to the last word
	}
}

func (a *answer) result(reason StopReason, now time.Time) *Result {
	tail, stop := a.stops.push(a.stream.Flush())
	r := &Result{
		Tail: tail + a.stops.flush(), Reason: reason, PromptTokens: a.job.prompt, AnswerTokens: a.count,
		Prefill: a.first.Sub(a.began), Decode: now.Sub(a.first), Seed: a.seed,
	}
	if stop != "" {
		r.Tail, r.Reason, r.Stop = tail, StopText, stop
	}
	return r
}

// IsCancelled tells whether an answer's error is that it was broken off.
func IsCancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed)
}
