//go:build (!amd64 && !arm64) || purego

package kernel

func expSum(_ []float32, _ *[16]float32, _ float32) int  { return 0 }
func silu(_, _ []float32) int                            { return 0 }
func siluMul(_, _, _ []float32) int                      { return 0 }
func gelu(_, _ []float32) int                            { return 0 }
func geluMul(_, _, _ []float32) int                      { return 0 }
func squares(_ []float32, _ *[16]float32) int            { return 0 }
func scaleMul(_, _, _ []float32, _ float32) int          { return 0 }
func quantize32(_ []Act32, _ []float32) bool             { return false }
func quantize256(_ *Act256, _ []float32, _ float32) bool { return false }
func toHalf(_ []uint16, _ []float32) int                 { return 0 }
func maxAbs(x []float32) uint32                          { return maxAbsGeneric(x) }
func largest(_ []float32, _ *[16]float32) int            { return 0 }
func add(_, _ []float32) int                             { return 0 }
func capped(_ []float32, _, _ float32) int               { return 0 }
func ropeSplit(_, _, _ []float32) int                    { return 0 }
func ropePairs(_, _ []float32) int                       { return 0 }

func scores(_, _ [][]float32, _ Lines, _, _ int, _ float32) int { return 0 }
func values(_, _ [][]float32, _ Lines, _ int) int               { return 0 }
