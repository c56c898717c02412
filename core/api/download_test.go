package api_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"rbee/core"
	"rbee/core/api"
)

// Why a pull failed crosses the wire whole: kind, facts and next step.
func TestFailedStage(t *testing.T) {
	why := &core.Fault{
		Kind: core.InsufficientDisk, What: "no room", Try: "rbee model gc",
		Facts: []core.Fact{core.Number("available_bytes", 7), core.Text("path", "/m")},
	}
	b, err := json.Marshal(api.FailedStage(why))
	if err != nil {
		t.Fatal(err)
	}
	var stage api.PullStage
	if err := json.Unmarshal(b, &stage); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	f, ok := errors.AsType[*core.Fault](stage.Err())
	if !ok || f.Kind != why.Kind || f.What != why.What || f.Try != why.Try || len(f.Facts) != 2 || f.Facts[0] != why.Facts[0] || f.Facts[1] != why.Facts[1] {
		t.Errorf("got %+v, want %+v", f, why)
	}
	if err := (&api.PullStage{Stage: api.StageComplete}).Err(); err != nil {
		t.Errorf("a pull that is complete failed: %v", err)
	}
}

func TestStageComment(t *testing.T) {
	tests := map[string]struct {
		stage api.PullStage
		want  string
	}{
		"moves":    {api.PullStage{Stage: api.StageDownloading, Done: 300, Total: 1000, BytesPerSecond: 100, ETAMS: 7000}, "downloading 30% (300 of 1000 bytes, 100 bytes/s)"},
		"stands":   {api.PullStage{Stage: api.StageCopying, Done: 0, Total: 9}, "copying 0% (0 of 9 bytes, 0 bytes/s)"},
		"verifies": {api.PullStage{Stage: api.StageVerifying, Done: 9, Total: 9}, "verifying 100% (9 of 9 bytes, 0 bytes/s)"},
		"no bytes": {api.PullStage{Stage: api.StageResolving}, "resolving"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := tt.stage.Comment()
			if text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
			if back, ok := api.ParseComment(text); ok != (tt.stage.Total > 0) || ok && !reflect.DeepEqual(back, tt.stage) {
				t.Errorf("%q read back: %+v %v, want %+v", text, back, ok, tt.stage)
			}
		})
	}
}

func FuzzParseComment(f *testing.F) {
	for _, s := range []string{"loading 40%", "queued 3/7", "downloading 30% (300 of 1000 bytes, 100 bytes/s)", "copying 0% (9 of -1 bytes, 3 bytes/s)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := api.ParseComment(text)
		if ok && (s.Done < 0 || s.Done > s.Total || s.ETAMS < 0) {
			t.Errorf("%q: %+v", text, s)
		}
	})
}
