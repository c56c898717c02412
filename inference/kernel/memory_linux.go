package kernel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20

// memory returns n zeros, on huge pages where the system grants them: weights are
// read from end to end for every token, and small pages cost some per cent of that.
func memory(n int) []byte {
	b := make([]byte, n)
	if n < 2*hugePage {
		return b
	}
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & (hugePage - 1))
	if whole := (n - skip) &^ (hugePage - 1); whole > 0 {
		_ = unix.Madvise(b[skip:skip+whole], unix.MADV_HUGEPAGE) // a wish
	}
	return b
}
