package cpu

import "rbee/inference/kernel"

// acts are the columns of an operation in every form that its weights need.
type acts struct {
	need [kernel.Kinds]bool
	k    int
	cols []kernel.Act
	by32 []kernel.Act32
	by2  []kernel.Act256

	scratch []kernel.Scratch // of each thread
}

// reset makes room for n columns of k values. The float form is set by whoever
// has it.
func (a *acts) reset(n, k int) {
	a.need, a.k = [kernel.Kinds]bool{}, k
	a.cols = grow(a.cols, n)
}

// want says that weights w are multiplied with the columns.
func (a *acts) want(w weight) { a.need[kernel.KindFor(w.Type)] = true }

// layOut gives each column its part of the buffers.
func (a *acts) layOut() {
	if a.need[kernel.By32] {
		a.by32 = grow(a.by32, len(a.cols)*a.k/32)
	}
	if a.need[kernel.By256] {
		a.by2 = grow(a.by2, len(a.cols)*a.k/256)
	}
	for i := range a.cols {
		a.cols[i] = kernel.Act{}
		if n := a.k / 32; a.need[kernel.By32] {
			a.cols[i].A = a.by32[i*n:][:n]
		}
		if n := a.k / 256; a.need[kernel.By256] {
			a.cols[i].B = a.by2[i*n:][:n]
		}
	}
}

// set quantises column i, which is x, and keeps x for float weights.
func (a *acts) set(i int, x []float32) {
	c := &a.cols[i]
	c.F = x
	if a.need[kernel.By32] {
		kernel.Make32(c.A, x)
	}
	if a.need[kernel.By256] {
		kernel.Make256(c.B, x)
	}
}

// atOnce is how many columns a panel is multiplied with before the next one is read:
// so few that what they give stays in the cache, since rows of dst lie far apart, and
// so many that reading the weights again for the next ones costs little.
const atOnce = 32

// multiply sets dst (n, w.Rows) to the thread's share of panels of W · columns.
func (a *acts) multiply(dst []float32, w weight, thread, threads int) {
	w.await()
	from, to := share(w.Panels(), thread, threads)
	for cols := a.cols; len(cols) > 0; {
		n := min(atOnce, len(cols))
		for p := from; p < to; p++ {
			w.MulColumns(dst, p, cols[:n], &a.scratch[thread])
		}
		dst, cols = dst[n*w.Rows():], cols[n:]
	}
}
