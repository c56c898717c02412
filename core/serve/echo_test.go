package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
)

type embedded struct {
	S string `json:"s,omitempty"`
}

func router() *echo.Echo {
	e := New(Options{Health: api.Health{Role: "hive"}, Token: "secret", Hosts: []string{"mac"}, Admit: func(_ echo.Context, token string) bool { return token == "of a lease" }})
	e.POST("/v1/echo", func(c echo.Context) error {
		var in struct {
			N int `json:"n"`
			embedded
		}
		if err := Body(c, &in); err != nil {
			return err
		}
		if in.N < 0 {
			return &core.Fault{Kind: core.InsufficientMemory, What: "too big", Facts: []core.Fact{core.Number("required_bytes", 7)}}
		}
		return c.JSON(http.StatusOK, in)
	})
	return e
}

func TestGuard(t *testing.T) {
	e := router()
	big := `{"x":"` + strings.Repeat("a", api.MaxBody) + `"}`
	tests := map[string]struct {
		method, path, host, token, media, origin, body string
		status                                         int
		says                                           string
	}{
		"health is open":    {"GET", "/health", "localhost", "", "", "", "", 200, `"role":"hive"`},
		"health, rebound":   {"GET", "/health", "evil.example", "", "", "", "", 403, "HOST_NOT_ALLOWED"},
		"no token":          {"POST", "/v1/echo", "mac:9200", "", "application/json", "", `{"n":1}`, 401, "MISSING_API_KEY"},
		"wrong token":       {"POST", "/v1/echo", "mac", "guess", "application/json", "", `{"n":1}`, 401, "INVALID_API_KEY"},
		"right":             {"POST", "/v1/echo", "127.0.0.1:9200", "secret", "application/json; charset=utf-8", "", `{"n":1}`, 200, `{"n":1}`},
		"foreign origin":    {"POST", "/v1/echo", "localhost", "secret", "application/json", "http://evil.example", `{"n":1}`, 403, "HOST_NOT_ALLOWED"},
		"not JSON":          {"POST", "/v1/echo", "localhost", "secret", "text/plain", "", `{"n":1}`, 415, "UNSUPPORTED_MEDIA_TYPE"},
		"broken JSON":       {"POST", "/v1/echo", "localhost", "secret", "application/json", "", `{"n":`, 400, "INVALID_REQUEST"},
		"empty body":        {"POST", "/v1/echo", "localhost", "secret", "application/json", "", ``, 400, "empty"},
		"wrong type":        {"POST", "/v1/echo", "localhost", "secret", "application/json", "", `{"n":"x"}`, 400, `"field":"n"`},
		"wrong types":       {"POST", "/v1/echo", "localhost", "secret", "application/json", "", `{"s":1,"n":"x"}`, 400, `"errors":[{"field":"n","constraint":"type","message":"is a string, want int"},{"field":"s",`},
		"no object":         {"POST", "/v1/echo", "localhost", "secret", "application/json", "", `[]`, 400, "no JSON object"},
		"trailing garbage":  {"POST", "/v1/echo", "localhost", "secret", "application/json", "", `{"n":1} x`, 400, "not JSON"},
		"wrong method":      {"GET", "/v1/echo", "localhost", "secret", "", "", "", 405, "METHOD_NOT_ALLOWED"},
		"lease's token":     {"POST", "/v1/echo", "localhost", "of a lease", "application/json", "", `{"n":1}`, 200, `{"n":1}`},
		"too large":         {"POST", "/v1/echo", "localhost", "secret", "application/json", "", big, 413, "BODY_TOO_LARGE"},
		"fault with a fact": {"POST", "/v1/echo", "localhost", "secret", "application/json", "", `{"n":-1}`, 507, `"required_bytes":7`},
		"no endpoint":       {"GET", "/nowhere", "localhost", "secret", "", "", "", 404, "NOT_FOUND"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, strings.NewReader(tt.body))
			r.Host = tt.host
			for k, v := range map[string]string{"Authorization": "Bearer " + tt.token, "Content-Type": tt.media, "Origin": tt.origin} {
				if v != "" && v != "Bearer " {
					r.Header.Set(k, v)
				}
			}
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("got %d %s; want %d and %s", w.Code, w.Body, tt.status, tt.says)
			}
			if w.Header().Get(api.HeaderCorrelation) == "" {
				t.Error("no correlation id")
			}
		})
	}
}

// The scheme's name is no matter of letters.
func TestScheme(t *testing.T) {
	for header, want := range map[string]int{"bearer secret": 404, "BEARER secret": 404, "Basic secret": 401, "secret": 401} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/nowhere", nil)
		r.Host = "localhost"
		r.Header.Set("Authorization", header)
		w := httptest.NewRecorder()
		router().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%q: got %d, want %d", header, w.Code, want)
		}
	}
}

func TestCorrelationIsKept(t *testing.T) {
	for given, kept := range map[string]bool{"abc-1.2_3": true, "a b": false, strings.Repeat("x", 129): false} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/health", nil)
		r.Host = "localhost"
		r.Header.Set(api.HeaderCorrelation, given)
		w := httptest.NewRecorder()
		router().ServeHTTP(w, r)
		if got := w.Header().Get(api.HeaderCorrelation); (got == given) != kept || got == "" {
			t.Errorf("correlation id %q came back as %q", given, got)
		}
	}
}
