package core

import (
	"errors"
	"fmt"
	"testing"
)

func TestKindOf(t *testing.T) {
	tests := map[string]struct {
		err    error
		kind   Kind
		status int
		exit   int
	}{
		"wrapped": {fmt.Errorf("catalog: model %q: %w", "x", ModelNotFound), ModelNotFound, 404, 1},
		"fault":   {fmt.Errorf("keeper: %w", &Fault{Kind: Invalid, What: "no prompt"}), Invalid, 400, 2},
		"none":    {errors.New("disk on fire"), Internal, 500, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := KindOf(tt.err)
			if k != tt.kind || k.Status() != tt.status || k.ExitStatus() != tt.exit {
				t.Errorf("KindOf: %s, %d, exit %d; want %s, %d, exit %d", k, k.Status(), k.ExitStatus(), tt.kind, tt.status, tt.exit)
			}
		})
	}
}

func TestFaultOf(t *testing.T) {
	cause := errors.New("no route")
	f := &Fault{Kind: NodeUnreachable, What: "node mac does not answer", Cause: cause}
	err := fmt.Errorf("queen: %w", f)
	if FaultOf(err) != f || !errors.Is(err, cause) || !errors.Is(err, NodeUnreachable) {
		t.Errorf("a wrapped fault lost its kind or its cause: %v", err)
	}
	if got := FaultOf(cause); got.Kind != Internal || got.What != "no route" {
		t.Errorf("FaultOf(plain error) = %+v", got)
	}
}
