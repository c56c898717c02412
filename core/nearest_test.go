package core_test

import (
	"slices"
	"testing"

	"rbee/core"
)

func TestNearest(t *testing.T) {
	names := []string{"infer", "node", "model", "load", "unload", "logs", "status"}
	tests := map[string]struct {
		n    int
		want []string
	}{
		"infr":   {1, []string{"infer"}},
		"laod":   {1, []string{"load"}},
		"stauts": {2, []string{"status"}},
		"modle":  {1, []string{"model"}}, //nolint:misspell // two letters have changed places: one slip
		"zzzzzz": {2, nil},
		"":       {2, nil},
	}
	for typed, tt := range tests {
		if got := core.Nearest(typed, names, tt.n); !slices.Equal(got, tt.want) {
			t.Errorf("Nearest(%q): got %v, want %v", typed, got, tt.want)
		}
	}
}
