package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/serve"
	"rbee/inference"
)

const defaultTemperature = 0.7

// execute is POST /execute: one answer as a stream of events. What is wrong
// before the first token is computed is an error with its status.
func (s *server) execute(c echo.Context) error {
	var r api.ExecuteRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	if err := s.meant(&r); err != nil {
		return err
	}
	if len(r.ResumeTokens) > 0 {
		return &core.Fault{Kind: core.Unsupported, What: "resume_tokens are not supported yet"}
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	ctx, done, err := s.jobs.begin(c.Request().Context(), r.JobID)
	if err != nil {
		return err
	}
	defer done()
	a := &answer{s: s, e: e, r: &r, w: c.Response(), began: time.Now()}
	a.request = engineRequest(&r)
	return a.run(ctx)
}

// meant refuses a request for another worker: ports are used again, and who asks
// for one model must not be answered by another.
func (s *server) meant(r *api.ExecuteRequest) error {
	ref := r.Model
	if parsed, err := core.ParseModelRef(string(ref)); err == nil {
		ref = parsed
	}
	mine := (r.WorkerID == "" || r.WorkerID == s.opts.id) && (r.Model == "" || ref == s.opts.ref)
	if mine {
		return nil
	}
	return &core.Fault{
		Kind: core.WorkerNotFound, What: fmt.Sprintf("this is worker %s with model %s", s.opts.id, s.opts.ref),
		Facts: []core.Fact{core.Text("worker_id", string(r.WorkerID)), core.Text("model", string(r.Model))},
	}
}

// engineRequest makes the engine's request of the wire's.
func engineRequest(r *api.ExecuteRequest) inference.Request {
	q := inference.Request{
		Messages: r.Messages, Tokens: r.Tokens, Raw: r.Raw, Tools: r.Tools, Kwargs: r.ChatTemplateKwargs,
		Stop: r.Stop, IgnoreEOG: r.IgnoreEOS,
	}
	if r.Prompt != nil {
		q.Prompt = *r.Prompt
	}
	value := func(p *float64, fallback float64) float64 {
		if p == nil {
			return fallback
		}
		return *p
	}
	q.Sample = inference.Params{
		Temperature: value(r.Temperature, defaultTemperature), TopP: value(r.TopP, 0), MinP: value(r.MinP, 0),
		Repetition: value(r.RepetitionPenalty, 0), Presence: value(r.PresencePenalty, 0), Frequency: value(r.FrequencyPenalty, 0),
		Bias: r.LogitBias, Seed: rand.Uint64() >> 11, // a seed that every JSON reader can hold
	}
	if r.MaxTokens != nil {
		q.MaxTokens = *r.MaxTokens
	}
	if r.TopK != nil {
		q.Sample.TopK = *r.TopK
	}
	if r.Seed != nil {
		q.Sample.Seed = *r.Seed
	}
	if r.Logprobs != nil {
		q.Logprobs, q.TopN = true, *r.Logprobs
	}
	return q
}

// An answer is one /execute under way.
type answer struct {
	s       *server
	e       *inference.Engine
	r       *api.ExecuteRequest
	w       http.ResponseWriter
	request inference.Request
	began   time.Time

	out    *api.Stream // nil until the first event
	tokens int
	last   int32       // id of the last token
	held   []api.Piece // of tokens that had no event yet
}

// run writes the answer's events. An error is one of before the stream.
func (a *answer) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var alive sync.WaitGroup
	defer alive.Wait()
	defer cancel()
	for ev, err := range a.e.Generate(ctx, a.request) {
		if err != nil && a.out == nil {
			return requestFault(err, a.e)
		}
		if a.out == nil {
			a.out = api.NewStream(a.w)
			alive.Go(func() { a.out.KeepAlive(ctx, 5*time.Second, func() string { return "working" }) })
		}
		if err != nil {
			a.fail(err) //nolint:contextcheck // the receipt has its own time
			return nil
		}
		if a.event(ev) != nil { //nolint:contextcheck // as above
			return nil // the reader is gone; leaving the loop ends the job
		}
	}
	return nil
}

func (a *answer) event(ev inference.Event) error {
	switch {
	case ev.Begun != nil:
		return a.begun(ev.Begun)
	case ev.Token != nil:
		return a.token(ev.Token)
	}
	return a.end(ev.Result)
}

func (a *answer) begun(b *inference.Begun) error {
	err := a.out.Send(&api.Started{JobID: a.r.JobID, Model: a.s.opts.ref, Node: a.s.opts.node, WorkerID: a.s.opts.id, StartedAt: a.began.UTC()})
	if b.Untemplated {
		err = errors.Join(err, a.narrate(api.Note, "the model has no chat template: the prompt is taken as it is"))
	}
	return errors.Join(err, a.narrate(api.Prefill, fmt.Sprintf("reading %d tokens", b.PromptTokens)))
}

func (a *answer) narrate(action api.Action, human string) error {
	return a.out.Send(&api.Narration{Actor: "worker", Action: action, Human: human})
}

func (a *answer) token(t *inference.Token) error {
	a.last = t.ID
	if a.tokens++; a.tokens == 1 {
		if err := a.narrate(api.Decode, "answering"); err != nil {
			return err
		}
	}
	piece := a.piece(t)
	if t.Text == "" {
		if piece != nil {
			a.held = append(a.held, *piece)
		}
		return nil
	}
	ev := &api.Token{Text: t.Text, Index: t.Index, ID: t.ID, Channel: api.TextChannel}
	if piece != nil {
		ev.Logprob, ev.TopLogprobs = &piece.Logprob.Logprob, piece.TopLogprobs
		if len(a.held) > 0 || piece.Text != t.Text {
			a.held = append(a.held, *piece)
			ev.Pieces = a.held
		}
		a.held = nil
	}
	return a.out.Send(ev)
}

var reasons = map[inference.StopReason]api.StopReason{
	inference.EndOfText: api.StopEOS, inference.MaxTokens: api.StopMaxTokens, inference.StopText: api.StopSequence,
}

func (a *answer) end(r *inference.Result) error {
	if r.Tail != "" {
		if err := a.out.Send(&api.Token{Text: r.Tail, Index: max(r.AnswerTokens-1, 0), ID: a.last, Channel: api.TextChannel, Pieces: a.held}); err != nil {
			return err
		}
	}
	m := &api.Metrics{
		PrefillTokens: r.PromptTokens, PrefillTPS: perSecond(r.PromptTokens, r.Prefill),
		DecodeTPS: perSecond(r.AnswerTokens-1, r.Decode), MemoryBytes: a.e.Info().MemoryBytes,
	}
	return errors.Join(a.out.Send(m), a.out.Send(a.closing(reasons[r.Reason], r)), a.out.Done())
}

// closing is the last event.
func (a *answer) closing(reason api.StopReason, r *inference.Result) *api.End {
	info := a.e.Info()
	end := &api.End{
		TokensOut: r.AnswerTokens, DecodeTimeMS: r.Decode.Milliseconds(), StopReason: reason, StopSequenceMatched: r.Stop,
		Usage: api.Usage{PromptTokens: r.PromptTokens, CompletionTokens: r.AnswerTokens},
		Receipt: api.Receipt{
			ModelSHA256: a.s.hash(), Quant: info.Quantization, Engine: a.s.opts.engine, Node: a.s.opts.node,
			Device: cmp.Or(info.Device, "cpu"), KernelClass: info.Class, Seed: a.request.Sample.Seed,
		},
	}
	return end
}

func perSecond(n int, d time.Duration) float64 {
	if n <= 0 || d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// fail closes a stream that has begun: a broken-off answer ends as cancelled.
func (a *answer) fail(err error) {
	if inference.IsCancelled(err) {
		r := &inference.Result{AnswerTokens: a.tokens}
		_ = a.out.Send(a.closing(api.StopCancelled, r)) // the reader may be the one who left
	} else {
		_ = a.out.Send(api.Fail(requestFault(err, a.e), a.tokens))
	}
	_ = a.out.Done()
}

// requestFault makes an error of the engine one of the wire.
func requestFault(err error, e *inference.Engine) error {
	f := &core.Fault{Kind: core.InferenceFailed, What: err.Error(), Cause: err}
	c, tooLong := errors.AsType[*inference.ContextError](err)
	switch {
	case tooLong:
		f.Kind, f.What = core.ContextLengthExceeded, fmt.Sprintf("the prompt needs a context of %d tokens, this worker has %d", c.Need, c.Have)
		f.Facts = []core.Fact{core.Number("required_tokens", int64(c.Need)), core.Number("context_tokens", int64(c.Have))}
		f.Try = "shorten the prompt, or ask for more with --ctx"
	case errors.Is(err, inference.ErrNoSlot):
		n := int64(e.Info().Slots)
		f.Kind, f.What = core.AllSlotsBusy, "all slots of the worker are busy"
		f.Facts = []core.Fact{core.Number("slots_total", n), core.Number("slots_busy", n)}
	case errors.Is(err, inference.ErrUnsupported):
		f.Kind = core.Unsupported
	case errors.Is(err, inference.ErrBadRequest):
		f.Kind = core.Invalid
	case inference.IsCancelled(err):
		f.Kind, f.What = core.ShuttingDown, "the worker is ending"
	}
	return f
}

// tokenize is POST /v1/tokenize: {"text","add_special","parse_special"} to {"tokens"}.
func (s *server) tokenize(c echo.Context) error {
	var r struct {
		Text         string `json:"text"`
		AddSpecial   bool   `json:"add_special"`
		ParseSpecial bool   `json:"parse_special"`
	}
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	ids := e.Tokenize(r.Text, inference.EncodeOptions{AddSpecial: r.AddSpecial, ParseSpecial: r.ParseSpecial})
	return c.JSON(http.StatusOK, map[string][]int32{"tokens": notNil(ids)})
}

// notNil makes an empty list [] in JSON.
func notNil(ids []int32) []int32 {
	if ids == nil {
		return []int32{}
	}
	return ids
}
