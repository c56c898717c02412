package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The line is against the rival's best setting, lost ones are there, and a floor that
// was missed is said.
func TestText(t *testing.T) {
	s := settings{pairs: 3, repeats: 2, rivalFlags: []string{"-a 0", "-a 1"}, minDecode: 0.9}
	won := &cell{model: "m.gguf", threads: "1", test: "pp512", prefill: true, rbee: []float64{30, 20, 10}, share: []float64{0.3, 0.2, 0.1}, rival: [][]float64{{5, 5, 5}, {10, 10, 10}}}
	lost := &cell{model: "m.gguf", threads: "2", test: "tg128", rbee: []float64{5, 5, 5}, share: []float64{0, 0, 0}, rival: [][]float64{{10, 20, 10}, {9, 9, 9}}}
	text := s.text(tables{[]*cell{won, lost}, []pair{{"m.gguf", served{[]float64{1, 2, 3}, []float64{50, 50, 50}}, served{[]float64{2, 2, 2}, []float64{100, 100, 100}}}}})
	for _, want := range []string{
		"| m.gguf | 1 | pp512 | 20.0 | 20 % | 10.0 | 10 % | `-a 1` | **2.000** | 1.000 – 3.000 |\n",
		"| m.gguf | 2 | tg128 | 5.0 | – | 10.0 | – | `-a 0` | **0.500** (below 0.9) | 0.250 – 0.500 |\n",
		"| m.gguf | 2.00 | 2.00 | **1.000** | 0.500 – 1.500 | 50 | 100 | **0.500** | 0.500 – 0.500 |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if s.slow(won) || !s.slow(lost) {
		t.Error("a floor is missed by the one, and not by the other")
	}
}

// Tables go between the marks; what stands around them stays.
func TestPublish(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.md")
	s := settings{out: file}
	if err := s.publish(""); err == nil {
		t.Error("no file, and no error")
	}
	if err := os.WriteFile(file, []byte("before\n"+begin+"old\n"+end+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ text, want string }{{"", "old\n"}, {"new\n", "new\n"}} {
		if err := s.publish(step.text); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(file); string(got) != "before\n"+begin+step.want+end+"after\n" {
			t.Errorf("got %q", got)
		}
	}
	if err := os.WriteFile(file, []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.publish("new\n"); err == nil {
		t.Error("no marks, and no error")
	}
}
