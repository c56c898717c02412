package serve

import (
	"errors"
	"fmt"
	"log/slog"
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
	Token  string // demanded of everybody but for /health; empty: open

	// Admit lets in the bearer of another token, to the routes that it may use.
	// May be nil.
	Admit func(c echo.Context, token string) bool

	Hosts []string // names besides localhost and IP literals that a Host header may hold
	Log   *slog.Logger

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
	if o.Log != nil {
		e.StdLogger = slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn)
	}
	e.Use(o.correlate, o.observe, o.guard)
	e.GET("/health", func(c echo.Context) error { return c.JSON(http.StatusOK, o.Health) })
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

// readerLeft is what the log says of a request whose caller did not wait for the
// answer, as nginx does.
const readerLeft = 499

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
		status, left := c.Response().Status, c.Request().Context().Err() != nil
		if left && err != nil {
			status = readerLeft
		}
		args := []any{
			"method", c.Request().Method, "path", c.Request().URL.Path, "status", status,
			"took_ms", time.Since(began).Milliseconds(), "correlation_id", Correlation(c),
		}
		if err != nil && !left {
			args = append(args, "code", string(core.KindOf(err)), "error", err.Error())
		}
		o.Log.Info("request", args...)
		return nil //nolint:nilerr // it was answered above
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
		if err := o.admit(c); err != nil {
			c.Response().Header().Set("WWW-Authenticate", "Bearer")
			return err
		}
		if !slices.ContainsFunc(o.Unbounded, func(prefix string) bool { return strings.HasPrefix(r.URL.Path, prefix) }) {
			r.Body = http.MaxBytesReader(c.Response(), r.Body, api.MaxBody)
		}
		return next(c)
	}
}

func (o Options) admit(c echo.Context) error {
	if o.Token == "" {
		return nil
	}
	h := c.Request().Header
	scheme, given, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		given = h.Get("X-Api-Key")
	}
	if given == "" {
		return &core.Fault{Kind: core.MissingAPIKey, What: "this server needs a token", Try: "send the header Authorization: Bearer TOKEN"}
	}
	if !secure.Equal(given, o.Token) && (o.Admit == nil || !o.Admit(c, given)) {
		return &core.Fault{Kind: core.InvalidAPIKey, What: "the token is not this server's"}
	}
	return nil
}

// answerError answers a handler's error, unless the answer has begun.
func (o Options) answerError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	if own, ok := errors.AsType[*echo.HTTPError](err); ok {
		err = ownFault(own, c.Request())
	}
	kind := core.KindOf(err)
	if !kind.Retriable() {
		c.Response().Header().Set(api.HeaderRetry, "false")
	}
	if o.OwnErrors != nil && o.OwnErrors(c, err) {
		return
	}
	if werr := c.JSON(kind.Status(), api.NewEnvelope(core.Public(err), Correlation(c))); werr != nil && o.Log != nil {
		o.Log.Debug("answer", "error", werr.Error())
	}
}

// ownFault makes an error of echo's own one of ours.
func ownFault(err *echo.HTTPError, r *http.Request) error {
	switch err.Code {
	case http.StatusNotFound:
		return &core.Fault{Kind: core.NotFound, What: fmt.Sprintf("no endpoint %s %s", r.Method, r.URL.Path)}
	case http.StatusMethodNotAllowed:
		return &core.Fault{Kind: core.NotAllowed, What: fmt.Sprintf("%s does not take %s", r.URL.Path, r.Method)}
	}
	return &core.Fault{Kind: core.Invalid, What: strings.ToLower(fmt.Sprint(err.Message))}
}
