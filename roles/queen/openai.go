package queen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/dialect/openai"
	"rbee/core/serve"
)

func (q *queen) openAIRoutes(e *echo.Echo) {
	e.POST("/v1/chat/completions", q.chat)
	e.GET("/v1/models", q.openAIModels)
	e.GET("/v1/models/*", q.openAIModel)
}

// openAIErrors answers errors of OpenAI's endpoints in their shape.
func openAIErrors(c echo.Context, err error) bool {
	path := c.Request().URL.Path
	if !strings.HasPrefix(path, "/v1/chat/") && !strings.HasPrefix(path, "/v1/models") && path != "/v1/completions" {
		return false
	}
	return c.JSON(core.KindOf(err).Status(), openai.FailureOf(core.Public(err))) == nil
}

// chat is POST /v1/chat/completions.
func (q *queen) chat(c echo.Context) error {
	var r openai.ChatRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	task, err := r.Task()
	if err != nil {
		return err
	}
	t, err := q.begin(c, task)
	if err != nil {
		return err
	}
	defer t.cancel(errCancelled) // a reader who leaves ends it at once
	a := &chatAnswer{t: t, r: &r, model: string(t.state().Model), created: t.created.Unix()}
	if r.Stream {
		return a.stream(c)
	}
	var probs *openai.Logprobs
	out, err := collect(c.Request().Context(), t, func(tok *api.Token) { probs = probs.Add(tok) })
	if err != nil {
		return fail(c, err)
	}
	reason := openai.FinishReason(out.StopReason)
	whole := a.piece("chat.completion", openai.Choice{Message: &openai.Message{Role: "assistant", Content: &out.Text}, Logprobs: probs, FinishReason: &reason})
	whole.Usage = openai.UsageOf(out.Usage)
	return c.JSON(http.StatusOK, whole)
}

// A chatAnswer is one answer in OpenAI's form.
type chatAnswer struct {
	t       *task
	r       *openai.ChatRequest
	model   string
	created int64

	once sync.Once
	out  *api.Stream            // after begin
	busy atomic.Pointer[string] // what is being done
}

func (a *chatAnswer) piece(object string, choices ...openai.Choice) openai.Completion {
	if choices == nil {
		choices = []openai.Choice{}
	}
	return openai.Completion{ID: "chatcmpl-" + string(a.t.id), Object: object, Created: a.created, Model: a.model, Choices: choices}
}

// patience is how long an answer may take to begin before its status is sent: an
// error within it is an HTTP error.
const patience = 10 * time.Second

// stream writes chunks. The stream begins with the first token, or after a while,
// so that what goes wrong before that is an error with a status.
func (a *chatAnswer) stream(c echo.Context) error {
	ctx, cancel := context.WithCancel(c.Request().Context())
	var alive sync.WaitGroup
	defer alive.Wait()
	defer cancel()
	alive.Go(func() {
		select {
		case <-time.After(patience):
			a.begin(c)
			a.out.KeepAlive(ctx, quiet, a.doing)
		case <-ctx.Done():
		}
	})
	var failed error
	err := a.t.follow(ctx, 0, func(ev api.Numbered) error {
		switch ev := ev.Event.(type) {
		case *api.Sealed:
			a.begin(c)
			return a.token(ev)
		case *api.End:
			a.begin(c)
			return a.end(ev)
		case *api.Comment:
			a.busy.Store(&ev.Text)
		case *api.Failure:
			failed = ev.Err()
		}
		return nil
	})
	began := true
	a.once.Do(func() { began = false })
	if failed != nil && !began {
		return fail(c, failed)
	}
	if errors.Is(err, errOvertaken) {
		failed = err
	}
	if failed != nil {
		b, merr := json.Marshal(openai.FailureOf(failed))
		if merr != nil {
			return fmt.Errorf("queen: chat: %w", merr)
		}
		err = a.out.Data(b)
	}
	if err != nil {
		return nil // the reader is gone
	}
	return a.out.Done()
}

// doing is what a comment says while nothing else is.
func (a *chatAnswer) doing() string {
	if text := a.busy.Load(); text != nil {
		return *text
	}
	return "working"
}

// begin sends the status and the first chunk, which has the role.
func (a *chatAnswer) begin(c echo.Context) {
	a.once.Do(func() {
		a.out = api.NewStream(c.Response())
		empty := ""
		_ = a.send(openai.Choice{Delta: &openai.Message{Role: "assistant", Content: &empty}}) // the next one fails, too
	})
}

func (a *chatAnswer) token(s *api.Sealed) error {
	t, err := s.Token()
	if err != nil {
		return err
	}
	return a.send(openai.Choice{Delta: &openai.Message{Content: &t.Text}, Logprobs: (*openai.Logprobs)(nil).Add(t)})
}

func (a *chatAnswer) send(choices ...openai.Choice) error {
	return a.write(a.piece("chat.completion.chunk", choices...))
}

func (a *chatAnswer) write(piece openai.Completion) error {
	b, err := json.Marshal(piece)
	if err != nil {
		return fmt.Errorf("queen: chat: %w", err)
	}
	return a.out.Data(b)
}

func (a *chatAnswer) end(end *api.End) error {
	reason := openai.FinishReason(end.StopReason)
	if err := a.send(openai.Choice{Delta: &openai.Message{}, FinishReason: &reason}); err != nil {
		return err
	}
	if a.r.StreamOptions == nil || !a.r.StreamOptions.IncludeUsage {
		return nil
	}
	last := a.piece("chat.completion.chunk")
	last.Usage = openai.UsageOf(end.Usage)
	return a.write(last)
}

// modelIDs are the models that a client may name: the embedded one, what hives
// have in their catalogs, what was imported.
func (q *queen) modelIDs(ctx context.Context) []openai.Model {
	out := []openai.Model{{ID: string(core.Embedded), Object: "model", OwnedBy: owner(core.Embedded)}}
	seen := map[core.ModelRef]bool{core.Embedded: true}
	add := func(ref core.ModelRef) {
		if _, err := q.lookUp(ref); err == nil && !seen[ref] {
			seen[ref] = true
			out = append(out, openai.Model{ID: string(ref), Object: "model", OwnedBy: owner(ref)})
		}
	}
	for _, path := range q.files.list() {
		add(core.ModelRef("file:" + path))
	}
	for _, m := range q.models(ctx) {
		q.learn(m)
		add(m.Ref)
	}
	return out
}

// owner is whose a model is: its organisation's at the hub, or yours.
func owner(ref core.ModelRef) string {
	if ref == core.Embedded {
		return "rbee"
	}
	if hub, ok := ref.Hub(); ok {
		org, _, _ := strings.Cut(hub.Repo, "/")
		return org
	}
	return "local"
}

func (q *queen) openAIModels(c echo.Context) error {
	return c.JSON(http.StatusOK, openai.Models{Object: "list", Data: q.modelIDs(c.Request().Context())})
}

func (q *queen) openAIModel(c echo.Context) error {
	id := strings.TrimPrefix(c.Request().URL.Path, "/v1/models/")
	list := q.modelIDs(c.Request().Context())
	there := func(ref core.ModelRef) bool {
		return slices.ContainsFunc(list, func(m openai.Model) bool { return m.ID == string(ref) })
	}
	ref, err := q.named(core.ModelRef(id))
	if one, ok := ref.Among(there); err == nil && ok {
		return c.JSON(http.StatusOK, openai.Model{ID: string(one), Object: "model", OwnedBy: owner(one)})
	}
	return &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("model %.80q is not here", id)}
}
