package model_test

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"rbee/inference/model"
)

// The logits of every model are the same bits whatever vector instructions are
// used: the same test in other processes, which RBEE_CPU restricts, prints their
// hashes.
func TestInstructionsChangeNoBit(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing in it runs at once that the other tests do not run")
	}
	const child = "RBEE_TEST_HASHES"
	if os.Getenv(child) != "" {
		for _, name := range decoders(t) {
			fmt.Println("hash", name, hash(t, name))
		}
		return
	}
	hashes := map[string]string{}
	lesser := "avx2"
	if runtime.GOARCH == "arm64" {
		lesser = "neon"
	}
	for _, cpu := range []string{"", lesser, "generic"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestInstructionsChangeNoBit$")
		cmd.Env = append(os.Environ(), child+"=1", "RBEE_CPU="+cpu)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("RBEE_CPU=%s: %v\n%s", cpu, err, out)
		}
		n := 0
		for line := range strings.Lines(string(out)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "hash" {
				if n++; hashes[f[1]] == "" {
					hashes[f[1]] = f[2]
				}
				if hashes[f[1]] != f[2] {
					t.Errorf("%s: other logits with RBEE_CPU=%s", f[1], cpu)
				}
			}
		}
		if n < len(decoders(t)) {
			t.Errorf("RBEE_CPU=%s: hashes of %d models: %s", cpu, n, out)
		}
	}
}

// hash is that of the logits of a prompt and some tokens after it.
func hash(t *testing.T, name string) uint64 {
	m := load(t, name, 2, model.Options{ContextLength: 128})
	s, h := sequence(t, m), fnv.New64a()
	for _, tokens := range [][]int32{text(1, 41), text(2, 1), text(3, 3), text(4, 1)} {
		for _, v := range step(t, m, s, tokens...) {
			var b [4]byte
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
			_, _ = h.Write(b[:])
		}
	}
	return h.Sum64()
}
