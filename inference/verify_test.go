package inference_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rbee/inference"
	"rbee/inference/device"
	"rbee/inference/device/cpu"
	"rbee/inference/quant"
)

const verifyText = "The hive stood at the end of the lane, and 27 bees flew out of it; nobody knew where they went."

// Every model in the engine's test data agrees with the reference engine.
func TestVerify(t *testing.T) {
	files, err := filepath.Glob("model/testdata/*.gguf")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d models: %v", len(files), err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "nomic-bert.gguf") {
			continue // without a tokenizer; its vectors have goldens in package model
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".gguf"), func(t *testing.T) {
			parts := 0
			for c, err := range inference.Verify(t.Context(), file, inference.Options{Threads: 2}, verifyText) {
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%-10s max error %.2g, cosine %.7f, worst %.2g of %.2g, alone %.2g", c.Part, c.MaxError, c.Cosine, c.Worst, c.Limit, c.Alone)
				if !c.OK() {
					t.Errorf("%s disagrees: %+v", c.Part, c)
				}
				parts++
			}
			if parts < 3 {
				t.Errorf("only %d parts", parts)
			}
		})
	}
}

// A flipping device has one bit of one matrix wrong.
type flipping struct {
	device.Device
	matrix int // the one to flip, counted as they are loaded
	at     func(t quant.Type, file []byte) (byteAt int, mask byte)
	loaded int
}

func (d *flipping) Weight(t quant.Type, rows, cols int, file []byte) (device.Weight, error) {
	if d.loaded++; d.loaded-1 == d.matrix {
		file = slices.Clone(file)
		i, mask := d.at(t, file)
		file[i] ^= mask
	}
	return d.Device.Weight(t, rows, cols, file)
}

// A lopsided device gets one lane of the panels of one matrix wrong.
type lopsided struct {
	device.Device
	call, calls int
}

func (d *lopsided) Project(x device.Buffer, n int, norm device.Norm, to ...device.Projection) {
	d.Device.Project(x, n, norm, to...)
	if d.calls++; d.calls-1 == d.call {
		dst, rows := to[0].Dst, to[0].W.Rows()
		v := slices.Clone(d.Read(dst, n*rows))
		for i := range v {
			if i%rows%32 == 5 {
				v[i] = -v[i]
			}
		}
		d.Upload(dst, v)
	}
}

// What is wrong in one layer is reported there and nowhere else.
func TestVerifyFindsFaults(t *testing.T) {
	first := func(part string, checks []inference.Check) {
		t.Helper()
		for _, c := range checks {
			if c.OK() == (c.Part == part) {
				t.Errorf("%s: OK is %v; the fault is in %s: %+v", c.Part, c.OK(), part, c)
			}
		}
	}
	q80 := func(_ quant.Type, file []byte) (int, byte) { return 34*5 + 2 + 9, 0x80 } // the top bit of a weight
	for _, tt := range []struct {
		name, model, part string
		tamper            func(device.Device) device.Device
	}{
		{"a weight of F32", "llama", "layer 1", func(d device.Device) device.Device {
			return &flipping{Device: d, matrix: 7 + 2, at: func(quant.Type, []byte) (int, byte) { return 4*70 + 3, 0x01 }}
		}},
		{"a weight of Q8_0, down", "llama-256-q8_0", "layer 1", func(d device.Device) device.Device {
			return &flipping{Device: d, matrix: 7 + 6, at: q80}
		}},
		{"a weight of Q8_0, output", "llama-256-q8_0", "layer 0", func(d device.Device) device.Device {
			return &flipping{Device: d, matrix: 3, at: q80}
		}},
		{"a scale of Q4_K", "llama-256-q4_k_m", "layer 1", func(d device.Device) device.Device {
			return &flipping{Device: d, matrix: 7 + 3, at: func(quant.Type, []byte) (int, byte) { return 144*3 + 1, 0x04 }}
		}},
		{"a lane", "llama-256-q6_k", "layer 1", func(d device.Device) device.Device { return &lopsided{Device: d, call: 3} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checks, err := inference.VerifyOn(t.Context(), tt.tamper(cpu.Open(2, "test")), "model/testdata/"+tt.model+".gguf", verifyText)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range checks {
				t.Logf("%-10s max error %.2g, cosine %.7f, worst %.2g of %.2g, alone %.2g", c.Part, c.MaxError, c.Cosine, c.Worst, c.Limit, c.Alone)
			}
			first(tt.part, checks)
		})
	}
}
