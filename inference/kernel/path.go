package kernel

import "os"

// A path is one set of vector instructions beside plain Go.
type path struct {
	name    string
	has, on bool
}

var paths []*path

// newPath registers a path. It is on when the processor has it, unless RBEE_CPU
// names a lesser one: avx2, neon, or generic for plain Go alone.
func newPath(name string, has bool) *path {
	p := &path{name: name, has: has, on: has}
	switch restrict := os.Getenv("RBEE_CPU"); restrict {
	case "generic":
		p.on = false
	case "avx2", "neon":
		p.on = has && name == restrict
	}
	paths = append(paths, p)
	return p
}

// Paths names the vector instructions in use, best first: "avx512vnni", "avx2";
// "neon-dotprod", "neon". None means plain Go.
func Paths() (names []string) {
	for _, p := range paths {
		if p.on {
			names = append(names, p.name)
		}
	}
	return names
}
