package api_test

import (
	"encoding/json"
	"errors"
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
