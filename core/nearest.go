package core

import (
	"cmp"
	"slices"
)

// Nearest returns up to n of the names that take the fewest changes from what was
// typed, the nearest first. A name that takes more than half of it and one is not
// among them.
func Nearest(typed string, names []string, n int) []string {
	type near struct {
		name    string
		changes int
	}
	var all []near
	for _, name := range names {
		if d := distance(typed, name); d < len(typed)/2+2 {
			all = append(all, near{name, d})
		}
	}
	slices.SortStableFunc(all, func(a, b near) int { return cmp.Compare(a.changes, b.changes) })
	out := make([]string, min(n, len(all)))
	for i := range out {
		out[i] = all[i].name
	}
	return out
}

// distance is how many letters to add, take away, change, or swap with the next one.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	var two, one []int // the rows before
	for i := range len(a) {
		two, one, row = one, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := one[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, row[j]+1, one[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], two[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
