package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/secure"
)

// Options say who a server is and whom it lets in.
type Options struct {
	Health api.Health
	Token  string   // demanded of everybody but for /health; empty: open
	Hosts  []string // names besides localhost and IP literals that a Host header may hold
	Log    *slog.Logger

	// Unbounded are prefixes of paths whose bodies may have any length.
	Unbounded []string

	// OwnErrors answers an error in another dialect than ours and returns true,
	// or returns false. May be nil.
	OwnErrors func(c echo.Context, err error) bool
}

// New returns a router with GET /health and everything that all our servers
// share: correlation ids, the Host and Origin checks, the token, bounded bodies,
// one line of log per request, and one place where errors become answers.
func New(o Options) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = o.answerError
	e.Use(o.correlate, o.observe, o.guard)
	e.GET("/health", func(c echo.Context) error { return c.JSON(http.StatusOK, o.Health) })
	e.RouteNotFound("/*", func(c echo.Context) error {
		return &core.Fault{Kind: core.NotFound, What: fmt.Sprintf("no endpoint %s %s", c.Request().Method, c.Request().URL.Path)}
	})
	return e
}

var correlation = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// correlate takes the request's correlation id or makes one, and echoes it.
func (o Options) correlate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(api.HeaderCorrelation)
		if !correlation.MatchString(id) {
			id = secure.RandomID()
			c.Request().Header.Set(api.HeaderCorrelation, id)
		}
		c.Response().Header().Set(api.HeaderCorrelation, id)
		return next(c)
	}
}

// Correlation returns the correlation id of a request that New's router took.
func Correlation(c echo.Context) string { return c.Request().Header.Get(api.HeaderCorrelation) }

// observe logs one line per request. The error is answered here, so that the
// status is known.
func (o Options) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		err := next(c)
		if err != nil {
			c.Error(err)
		}
		if o.Log == nil || c.Path() == "/health" {
			return nil
		}
		args := []any{
			"method", c.Request().Method, "path", c.Request().URL.Path, "status", c.Response().Status,
			"took_ms", time.Since(began).Milliseconds(), "correlation_id", Correlation(c),
		}
		if err != nil {
			args = append(args, "code", string(core.KindOf(err)), "error", err.Error())
		}
		o.Log.Info("request", args...)
		return nil
	}
}

// guard lets a request in: host, origin, token, media type, size of body.
func (o Options) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if !secure.HostAllowed(r.Host, o.Hosts) {
			return &core.Fault{
				Kind: core.HostNotAllowed, What: fmt.Sprintf("host %q is not one of this server's names", r.Host),
				Try: "use localhost or the address, or start it with --allowed-host",
			}
		}
		if !secure.OriginAllowed(r.Header.Get("Origin"), r.Host) {
			return &core.Fault{Kind: core.HostNotAllowed, What: fmt.Sprintf("origin %q may not call this server", r.Header.Get("Origin"))}
		}
		if r.URL.Path == "/health" {
			return next(c)
		}
		if err := o.admit(r); err != nil {
			c.Response().Header().Set("WWW-Authenticate", "Bearer")
			return err
		}
		if !slices.ContainsFunc(o.Unbounded, func(prefix string) bool { return strings.HasPrefix(r.URL.Path, prefix) }) {
			r.Body = http.MaxBytesReader(c.Response(), r.Body, api.MaxBody)
		}
		return next(c)
	}
}

func (o Options) admit(r *http.Request) error {
	if o.Token == "" {
		return nil
	}
	given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		given = r.Header.Get("X-Api-Key")
	}
	if given == "" {
		return &core.Fault{Kind: core.MissingAPIKey, What: "this server needs a token", Try: "send the header Authorization: Bearer TOKEN"}
	}
	if !secure.Equal(given, o.Token) {
		return &core.Fault{Kind: core.InvalidAPIKey, What: "the token is not this server's"}
	}
	return nil
}

// Body reads the request's JSON body into v and checks the media type. An empty
// body is an error.
func Body[T any](c echo.Context, v *T) error {
	r := c.Request()
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return &core.Fault{Kind: core.NotJSON, What: "the body must be JSON", Try: "send the header Content-Type: application/json"}
	}
	err := json.NewDecoder(r.Body).Decode(v)
	if err == nil {
		return nil
	}
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &core.Fault{
			Kind: core.BodyTooLarge, What: "the body is too large",
			Facts: []core.Fact{core.Number("limit_bytes", big.Limit)},
		}
	}
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		bad := core.FieldError{Field: typ.Field, Constraint: "type", Message: fmt.Sprintf("is a %s, want %s", typ.Value, typ.Type)}
		return &core.Fault{
			Kind: core.Invalid, What: "the request is not valid: " + bad.Field + ": " + bad.Message,
			Facts: []core.Fact{core.Text(bad.Field, bad.Message)}, Fields: []core.FieldError{bad},
		}
	}
	if errors.Is(err, io.EOF) {
		return &core.Fault{Kind: core.Invalid, What: "the body is empty, want JSON"}
	}
	return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("the body is not JSON: %v", err), Cause: err}
}

// answerError answers a handler's error, unless the answer has begun.
func (o Options) answerError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	if own, ok := errors.AsType[*echo.HTTPError](err); ok { // echo's own: 405 and the like
		err = &core.Fault{Kind: core.Invalid, What: strings.ToLower(fmt.Sprint(own.Message))}
		if own.Code == http.StatusNotFound {
			err = &core.Fault{Kind: core.NotFound, What: "no such endpoint"}
		}
	}
	kind := core.KindOf(err)
	if !kind.Retriable() {
		c.Response().Header().Set(api.HeaderRetry, "false")
	}
	if o.OwnErrors != nil && o.OwnErrors(c, err) {
		return
	}
	if werr := c.JSON(kind.Status(), api.NewEnvelope(hide(err, kind), Correlation(c))); werr != nil && o.Log != nil {
		o.Log.Debug("answer", "error", werr.Error())
	}
}

// hide keeps the details of our own faults in the log: the caller can do nothing
// with them, and they may name what is not theirs.
func hide(err error, kind core.Kind) error {
	if _, ok := errors.AsType[*core.Fault](err); ok || kind != core.Internal {
		return err
	}
	return &core.Fault{Kind: core.Internal, What: "internal error", Cause: err}
}
