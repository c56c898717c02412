package kernel

import "slices"

// PathNames lists the vector paths of this build, whether the processor has them or not.
func PathNames() (names []string) {
	for _, p := range paths {
		names = append(names, p.name)
	}
	return names
}

// HasPath tells whether the processor has the path.
func HasPath(name string) bool {
	return slices.ContainsFunc(paths, func(p *path) bool { return p.name == name && p.has })
}

// UsePath turns every path off but one ("" or "go": plain Go alone), and returns
// what undoes it.
func UsePath(name string) (restore func()) {
	was := make([]bool, len(paths))
	for i, p := range paths {
		was[i] = p.on
		p.on = p.has && p.name == name
	}
	return func() {
		for i, p := range paths {
			p.on = was[i]
		}
	}
}
