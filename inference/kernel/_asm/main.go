// Command _asm writes the assembly of package kernel.
//
// All kernels of quantised weights share one contract (layouts: ../pack.go):
//
//	func(w *byte, x *[4]*byte, dst *float32, blocks int)
//
// They add W·x of one panel (32 rows) and a few columns to dst, which is
// (columns, 32); the number of columns is the last digit of the name. x holds
// where each column's activations begin. The AVX2 ones take a second pointer, s,
// to what is stored as float16, since they may begin at a later row.
package main

import (
	"flag"
	"log"
	"os"

	. "github.com/mmcloughlin/avo/build"

	"rbee/inference/kernel/_asm/dispatch"
)

func main() {
	flag.Parse()
	ConstraintExpr("!purego")
	for _, cols := range []int{1, 2, 4} {
		for _, f := range formats32 {
			tile32(f, cols)
		}
		for _, f := range floats {
			tileFloat(f, cols)
		}
		tileK(q4k, cols)
		tileK(q5k, cols)
		tileQ6K(cols)
		tileQ2K(cols)
		tileQ3K(cols)
		tileIQ4XS(cols)
	}
	wide512()
	avx2All()
	attention()
	pack256()
	elementwise512()
	elementwise256()
	peaks()
	Generate()
	if err := os.WriteFile("../dispatch_amd64.go", []byte(dispatch.AMD64()), 0o644); err != nil {
		log.Fatal(err)
	}
}
