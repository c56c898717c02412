package gguf

import "testing"

// Work of two models whose tensors were counted by hand.
func TestWork(t *testing.T) {
	for name, want := range map[string]Work{} {
		f, err := Open("../model/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Work(); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
