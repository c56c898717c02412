package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"rbee/inference/kernel"
	"rbee/inference/model"
)

var update = flag.Bool("update", false, "rewrite the tables of README.md")

// The tables of the README are what the code says; go test . -update rewrites them.
func TestReadmeTables(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(b)
	for name, table := range map[string]string{"architectures": architectureTable(), "weights": weightTable()} {
		begin, end := "<!-- "+name+": written by go test . -update -->\n", "<!-- end of "+name+" -->"
		before, rest, ok := strings.Cut(readme, begin)
		old, after, found := strings.Cut(rest, end)
		if !ok || !found {
			t.Fatalf("README.md has no place for the table of %s", name)
		}
		if old != table && !*update {
			t.Errorf("README.md is behind the code in its table of %s: go test . -update", name)
		}
		readme = before + begin + table + end + after
	}
	if *update {
		if err := os.WriteFile("README.md", []byte(readme), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func architectureTable() string {
	var s strings.Builder
	s.WriteString("| architecture | models |\n|---|---|\n")
	for _, name := range model.Architectures() {
		fmt.Fprintf(&s, "| `%s` | %s |\n", name, model.Models(name))
	}
	return s.String()
}

func weightTable() string {
	classes := map[kernel.ProductClass][]string{}
	for _, s := range kernel.Support() {
		classes[s.Class] = append(classes[s.Class], s.Type.String())
	}
	var b strings.Builder
	b.WriteString("| weights | multiplied |\n|---|---|\n")
	fmt.Fprintf(&b, "| %s | with AVX-512 VNNI or AVX2, on arm64 with NEON, where the processor has them, else in plain Go |\n", strings.Join(classes[kernel.Fast], " "))
	fmt.Fprintf(&b, "| %s | decoded first: slower |\n", strings.Join(classes[kernel.Plain], " "))
	return b.String()
}
