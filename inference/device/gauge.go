package device

// Limits are what the hardware can do at most, each as it was measured several times.
type Limits struct {
	ReadGBps []float64 // memory read, 10⁹ bytes per second
	Int8GOPS []float64 // int8 values multiplied and added, two operations each, 10⁹ per second
}

// A Gauge is a device that measures its own limits.
type Gauge interface {
	// Gauge measures with all threads of the device, on a block of so many bytes that
	// no cache should hold. It is called as the operations are.
	Gauge(bytes int) Limits
}
