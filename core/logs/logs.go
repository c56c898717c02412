// Package logs makes the loggers of the daemons.
package logs

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"rbee/core"
)

// New returns a logger that writes to w, in "text" or "json", what is at level
// ("debug", "info", "warn" or "error") or above. Values under the keys token
// and authorization are never written.
func New(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("log level %q: want debug, info, warn or error", level), Cause: err}
	}
	o := &slog.HandlerOptions{Level: l, ReplaceAttr: redact}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("log format %q: want text or json", format)}
}

func redact(_ []string, a slog.Attr) slog.Attr {
	switch strings.ToLower(a.Key) {
	case "token", "authorization", "api_key":
		return slog.String(a.Key, "[hidden]")
	}
	return a
}
