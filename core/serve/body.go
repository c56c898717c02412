package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"rbee/core"
)

// Body reads the request's JSON body into v and checks the media type. An empty
// body is an error, and so is what follows the JSON.
func Body[T any](c echo.Context, v *T) error {
	given, err := OptionalBody(c, v)
	if err == nil && !given {
		return &core.Fault{Kind: core.Invalid, What: "the body is empty, want JSON"}
	}
	return err
}

// OptionalBody is Body for a request that may say nothing: given tells whether it
// said something. The media type must be that of JSON all the same, which no page
// from elsewhere may send.
func OptionalBody[T any](c echo.Context, v *T) (given bool, err error) {
	r := c.Request()
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return false, &core.Fault{Kind: core.NotJSON, What: "the body must be JSON", Try: "send the header Content-Type: application/json"}
	}
	b, err := io.ReadAll(r.Body)
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return false, &core.Fault{
			Kind: core.BodyTooLarge, What: "the body is too large",
			Facts: []core.Fact{core.Number("limit_bytes", big.Limit)},
		}
	}
	if err != nil {
		return false, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("the body ended early: %v", err), Cause: err}
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return false, nil
	}
	return true, decode(b, v)
}

// decode reads b into v, and names every field of a wrong type.
func decode[T any](b []byte, v *T) error {
	err := json.Unmarshal(b, v)
	if _, typed := errors.AsType[*json.UnmarshalTypeError](err); !typed {
		if err != nil {
			return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("the body is not JSON: %v", err), Cause: err}
		}
		return nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(b, &object) != nil {
		return &core.Fault{Kind: core.Invalid, What: "the body is no JSON object", Cause: err}
	}
	f := &core.Fault{Kind: core.Invalid, Cause: err, Fields: mistyped[T](object, err)}
	if len(f.Fields) == 0 {
		f.What = fmt.Sprintf("the body does not fit: %v", err)
		return f
	}
	for _, bad := range f.Fields {
		f.Facts = append(f.Facts, core.Text(bad.Field, bad.Message))
	}
	f.What = "the request is not valid: " + f.Fields[0].Field + ": " + f.Fields[0].Message
	return f
}

// mistyped lists the fields of a wrong type. Of several the decoder names only one:
// that one is taken away, and it is asked again.
func mistyped[T any](object map[string]json.RawMessage, err error) (bad []core.FieldError) {
	for {
		typ, ok := errors.AsType[*json.UnmarshalTypeError](err)
		if !ok {
			break
		}
		key, field := locate(object, typ.Field)
		if key == "" {
			break
		}
		bad = append(bad, core.FieldError{Field: field, Constraint: "type", Message: fmt.Sprintf("is a %s, want %s", typ.Value, typ.Type)})
		delete(object, key)
		rest, merr := json.Marshal(object)
		if merr != nil {
			break
		}
		err = json.Unmarshal(rest, new(T))
	}
	slices.SortFunc(bad, func(a, b core.FieldError) int { return strings.Compare(a.Field, b.Field) })
	return bad
}

// locate finds the object's key that a path of the decoder leads through: Go's
// names of embedded structs stand before it. field is the path from the key on.
func locate(object map[string]json.RawMessage, path string) (key, field string) {
	for rest := path; rest != ""; {
		name, below, _ := strings.Cut(rest, ".")
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if strings.EqualFold(key, name) {
				return key, rest
			}
		}
		rest = below
	}
	return "", ""
}

// PathParam is a parameter of a request's path. The router leaves a path with slashes
// in its parts escaped as it came.
func PathParam(c echo.Context, name string) (string, error) {
	v := c.Param(name)
	if c.Request().URL.RawPath == "" {
		return v, nil
	}
	plain, err := url.PathUnescape(v)
	if err != nil {
		return "", &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("%s %.80q in the path: %v", name, v, err)}
	}
	return plain, nil
}

// Accepted answers 202 at once, and whole: what follows may end the process.
func Accepted(c echo.Context) {
	w := c.Response()
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
	w.Flush()
}
