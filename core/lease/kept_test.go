package lease

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestKept(t *testing.T) {
	k := NewKept(3)
	for i := range 5 {
		fmt.Fprintf(k, "line %d\nand a ha", i)
		fmt.Fprintf(k, "lf %d\n", i)
	}
	fmt.Fprint(k, "no end")
	var got []string
	read := func(line []byte) error { got = append(got, string(line)); return nil }
	if err := k.Read(t.Context(), false, read); err != nil || strings.Join(got, "|") != "and a half 3|line 4|and a half 4" {
		t.Errorf("kept: %q, %v", got, err)
	}
	fmt.Fprint(k, strings.Repeat("x", maxPart+5))
	got = nil
	_ = k.Read(t.Context(), false, read)
	if last := got[len(got)-1]; len(last) < maxPart {
		t.Errorf("a line without an end: %d bytes", len(last))
	}
}

func TestKeptFollow(t *testing.T) {
	k := NewKept(3)
	fmt.Fprintln(k, "one")
	ctx, cancel := context.WithCancel(t.Context())
	got, ended := make(chan string), make(chan error)
	go func() { ended <- k.Read(ctx, true, func(line []byte) error { got <- string(line); return nil }) }()
	if first := <-got; first != "one" {
		t.Errorf("first: %q", first)
	}
	fmt.Fprintln(k, "two")
	if second := <-got; second != "two" {
		t.Errorf("second: %q", second)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("at the end: %v", err)
	}
	gone := errors.New("gone")
	if err := k.Read(t.Context(), true, func([]byte) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("a reader that fails: %v", err)
	}
}
