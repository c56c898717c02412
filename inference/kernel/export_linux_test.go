//go:build amd64

package kernel

import (
	"encoding/binary"
	"os"
	"reflect"
	"syscall"
	"testing"
	"unsafe"
)

// BreakLane makes MulColumns give a wrong value in one of the 32 lanes of every
// panel, for matrices that which picks, until the test ends. It rewrites the
// function's first instructions, so the program itself has no hook for it; nothing
// else may multiply while it is called.
func BreakLane(t testing.TB, lane int, which func(*Matrix) bool) {
	wrong := func(m *Matrix, dst []float32, p int, x []Act) {
		for i := range x {
			var out [PanelRows]float32
			m.Mul(out[:], p, &x[i])
			if which(m) {
				out[lane] = -out[lane] + 1
			}
			copy(dst[i*m.Rows+p*PanelRows:(i+1)*m.Rows], out[:])
		}
	}
	jump := []byte{0x48, 0xba, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x22} // MOVQ $closure, DX; JMP (DX)
	binary.LittleEndian.PutUint64(jump[2:], uint64(*(*uintptr)(unsafe.Pointer(&wrong))))
	at := reflect.ValueOf((*Matrix).MulColumns).Pointer()
	was := rewrite(t, at, jump)
	t.Cleanup(func() {
		rewrite(t, at, was)
		wrong(&Matrix{}, nil, 0, nil) // it lives until here
	})
}

// rewrite writes code at an address and returns what was there.
func rewrite(t testing.TB, at uintptr, code []byte) (was []byte) {
	page := uintptr(os.Getpagesize())
	first := at &^ (page - 1)
	pages := unsafe.Slice((*byte)(unsafe.Add(nil, first)), (at+uintptr(len(code))-first+page-1)&^(page-1))
	if err := syscall.Mprotect(pages, syscall.PROT_READ|syscall.PROT_WRITE|syscall.PROT_EXEC); err != nil {
		t.Skipf("this system does not let code be changed: %v", err)
	}
	defer func() { _ = syscall.Mprotect(pages, syscall.PROT_READ|syscall.PROT_EXEC) }()
	target := pages[at-first:][:len(code)]
	was = append(was, target...)
	copy(target, code)
	return was
}
