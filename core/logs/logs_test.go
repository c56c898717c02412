package logs

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"rbee/core"
)

func TestNew(t *testing.T) {
	var b bytes.Buffer
	log, err := New(&b, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("not this")
	log.Info("up", "token", "secret-1", "port", 8080)
	got := b.String()
	if strings.Contains(got, "secret-1") || strings.Contains(got, "not this") || !strings.Contains(got, `"port":8080`) {
		t.Errorf("got %s", got)
	}
	for _, bad := range [][2]string{{"loud", "text"}, {"info", "xml"}} {
		if _, err := New(&b, bad[0], bad[1]); !errors.Is(err, core.Invalid) {
			t.Errorf("New(%q, %q): got %v", bad[0], bad[1], err)
		}
	}
}
