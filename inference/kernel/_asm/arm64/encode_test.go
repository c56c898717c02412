package main

import (
	"encoding/binary"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"
)

// sdots are words that the GNU assembler makes; the decoder does not know them.
var sdots = map[string]uint32{
	"sdot v0.4s, v0.16b, v0.4b[0]":    0x4f80e000,
	"sdot v1.4s, v2.16b, v3.4b[1]":    0x4fa3e041,
	"sdot v30.4s, v17.16b, v9.4b[2]":  0x4f89ea3e,
	"sdot v7.4s, v31.16b, v16.4b[3]":  0x4fb0ebe7,
	"sdot v31.4s, v31.16b, v31.4b[3]": 0x4fbfebff,
}

var written = regexp.MustCompile(`WORD \$0x([0-9a-f]{8}) // (.*)`)

// Every word of the generated file is the instruction that stands beside it.
func TestWords(t *testing.T) {
	text, err := os.ReadFile("../../kernels_arm64.s")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range written.FindAllStringSubmatch(string(text), -1) {
		if seen[m[0]] || strings.HasPrefix(m[2], "sdot") {
			continue
		}
		seen[m[0]] = true
		bits, _ := strconv.ParseUint(m[1], 16, 32)
		inst, err := arm64asm.Decode(binary.LittleEndian.AppendUint32(nil, uint32(bits)))
		if err != nil {
			t.Errorf("%s: %v", m[0], err)
			continue
		}
		if got := plain(arm64asm.GNUSyntax(inst)); got != plain(m[2]) {
			t.Errorf("%s is %s, not %s", m[1], got, m[2])
		}
	}
	if len(seen) < 1000 {
		t.Errorf("only %d different words", len(seen))
	}
}

// plain drops what texts of the same instruction differ in.
func plain(s string) string { return strings.ReplaceAll(s, " ", "") }

func TestSDOT(t *testing.T) {
	form := regexp.MustCompile(`v(\d+)\.4s, v(\d+)\.16b, v(\d+)\.4b\[(\d)\]`)
	for text, want := range sdots {
		var n [4]int
		for i, s := range form.FindStringSubmatch(text)[1:] {
			n[i], _ = strconv.Atoi(s)
		}
		a := &asm{}
		a.lane("sdot", vec(n[0]), vec(n[1]), vec(n[2]), n[3])
		got := written.FindStringSubmatch(a.text.String())
		if bits, _ := strconv.ParseUint(got[1], 16, 32); uint32(bits) != want || got[2] != text {
			t.Errorf("got %s // %s, want %08x // %s", got[1], got[2], want, text)
		}
	}
}
