package queen

import (
	"testing"

	"rbee/core/api"
)

// What no worker can be is not taken from a report: every task would be sent there.
func TestReadyOf(t *testing.T) {
	good := api.Worker{ID: "w", URL: "http://mac:8001", State: api.Idle}
	tests := map[string]struct {
		change func(*api.Worker)
		want   int
	}{
		"idle":    {func(*api.Worker) {}, 1},
		"busy":    {func(w *api.Worker) { w.State = api.Busy }, 1},
		"loading": {func(w *api.Worker) { w.State = api.Loading }, 0},
		"no id":   {func(w *api.Worker) { w.ID = "" }, 0},
		"odd id":  {func(w *api.Worker) { w.ID = "a/b" }, 0},
		"no url":  {func(w *api.Worker) { w.URL = "" }, 0},
		"no port": {func(w *api.Worker) { w.URL = "http://mac" }, 0},
	}
	for name, tt := range tests {
		w := good
		tt.change(&w)
		if got := readyOf("mac", []api.Worker{w}); len(got) != tt.want {
			t.Errorf("%s: got %v, want %d", name, got, tt.want)
		}
	}
}
