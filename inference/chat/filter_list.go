package chat

import (
	"slices"
	"strconv"
	"strings"
)

func addListFilters(filters map[string]filterFunc) {
	filters["first"] = func(e *env, v value, _ args) value { return end(e, v, "first") }
	filters["last"] = func(e *env, v value, _ args) value { return end(e, v, "last") }
	filters["list"] = func(e *env, v value, _ args) value { return &list{items: slices.Clone(e.iterate(v))} }
	filters["join"] = joinFilter
	filters["reverse"] = reverseFilter
	filters["items"] = itemsFilter
	filters["sum"] = sumFilter
	filters["batch"] = batchFilter
	filters["slice"] = sliceFilter
	filters["map"] = mapFilter
	for _, name := range []string{"select", "reject", "selectattr", "rejectattr"} {
		filters[name] = picker(name)
	}
	addOrderFilters(filters)
}

// lazy is what a filter that is a generator in Python gives.
func lazy(f func() []value) value { return &iterator{"generator", f} }

// end is the first or last item.
func end(e *env, v value, which string) value {
	if _, once := v.(*iterator); once && which == "last" {
		e.fail("'generator' object is not reversible")
	}
	items := e.iterate(v)
	switch {
	case len(items) == 0:
		return undefined{"No " + which + " item, sequence was empty."}
	case which == "last":
		return items[len(items)-1]
	}
	if it, ok := v.(*iterator); ok {
		it.make = func() []value { return items[1:] }
	}
	return items[0]
}

// path is an attribute by name or number, with points for attributes of attributes.
func (e *env) path(v, attribute value) value {
	name, ok := asText(attribute)
	if !ok {
		if attribute == nil {
			return v
		}
		return e.item(v, attribute)
	}
	for part := range strings.SplitSeq(name, ".") {
		var key value = part
		if n, err := strconv.ParseUint(part, 10, 31); err == nil {
			key = int64(n)
		}
		v = e.item(v, key)
	}
	return v
}

func joinFilter(e *env, v value, a args) value {
	b := a.bind(e, "join", "d", "attribute")
	items := e.iterate(v)
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = e.str(e.path(item, b.or(1, nil)))
	}
	return e.joined(parts, e.str(b.or(0, "")))
}

func reverseFilter(e *env, v value, a args) value {
	a.bind(e, "reverse")
	items := slices.Clone(e.iterate(v))
	slices.Reverse(items)
	switch v := v.(type) {
	case string, markup:
		s, _ := asText(v)
		r := []rune(s)
		slices.Reverse(r)
		return like(v, e.sized(string(r)))
	case *iterator:
		return &list{items: items}
	}
	return &iterator{"list_reverseiterator", func() []value { return items }}
}

func itemsFilter(e *env, v value, a args) value {
	a.bind(e, "items")
	return lazy(func() []value {
		if isUndefined(v) {
			return nil
		}
		d, ok := v.(*dict)
		if !ok {
			e.fail("Can only get item pairs from a mapping.")
		}
		e.step(len(d.keys))
		return d.view(dictItems).items
	})
}

func sumFilter(e *env, v value, a args) value {
	b := a.bind(e, "sum", "attribute", "start")
	sum := b.or(1, int64(0))
	if _, ok := asText(sum); ok {
		e.fail("sum() can't sum strings")
	}
	for _, item := range e.iterate(v) {
		sum = e.arithmetic("+", sum, e.path(item, b.or(0, nil)))
	}
	return sum
}

func batchFilter(e *env, v value, a args) value {
	b := a.bind(e, "batch", "linecount!", "fill_with")
	n, fill := e.int(b[0]), b.or(1, nil)
	return lazy(func() (rows []value) {
		items := e.iterate(v)
		if n <= 0 && len(items) > 0 {
			e.fail("batch: want a positive number of items, got %d", n)
		}
		for len(items) > 0 {
			k := min(n, len(items))
			row := slices.Clone(items[:k])
			if items = items[k:]; fill != nil && k < n {
				e.step(n - k)
				row = append(row, slices.Repeat([]value{fill}, n-k)...)
			}
			rows = append(rows, &list{items: row})
		}
		return rows
	})
}

func sliceFilter(e *env, v value, a args) value {
	b := a.bind(e, "slice", "slices!", "fill_with")
	n, fill := e.int(b[0]), b.or(1, nil)
	return lazy(func() (columns []value) {
		items := e.iterate(v)
		if n == 0 {
			e.fail("division by zero")
		}
		e.step(max(n, 0))
		size, extra, from := len(items)/max(n, 1), len(items)%max(n, 1), 0
		for i := range max(n, 0) {
			to := from + size
			if i < extra {
				to++
			}
			column := slices.Clone(items[from:to])
			if from = to; fill != nil && i >= extra {
				column = append(column, fill)
			}
			columns = append(columns, &list{items: column})
		}
		return columns
	})
}

// mapped is a generator of f of each item.
func (e *env) mapped(v value, f func(value) value) value {
	return lazy(func() []value {
		if !truth(v) {
			return nil
		}
		items := e.iterate(v)
		out := make([]value, len(items))
		for i, x := range items {
			e.step(1)
			out[i] = f(x)
		}
		return out
	})
}

func mapFilter(e *env, v value, a args) value {
	if attr, rest, ok := a.take("attribute"); ok && len(a.list) == 0 {
		fallback := rest.bind(e, "map", "default").or(0, nil)
		return e.mapped(v, func(x value) value {
			if item := e.path(x, attr); fallback == nil || !isUndefined(item) {
				return item
			}
			return fallback
		})
	}
	if len(a.list) == 0 {
		e.fail("map requires a filter argument")
	}
	name := e.text(a.list[0])
	return e.mapped(v, func(x value) value { return e.filter(name, x, args{a.list[1:], a.names, a.named}) })
}

// picker keeps or drops the items of which a test is true, or of an attribute of
// them. Without a test it is their truth.
func picker(name string) filterFunc {
	keep, attr := strings.HasPrefix(name, "select"), strings.HasSuffix(name, "attr")
	return func(e *env, v value, a args) value {
		test := a.list
		var path value
		if attr {
			if len(test) == 0 {
				e.fail("Missing parameter for attribute name")
			}
			path, test = test[0], test[1:]
		}
		is := func(x value) bool {
			if x = e.path(x, path); len(test) == 0 {
				return truth(x)
			}
			return e.test(e.text(test[0]), x, args{test[1:], a.names, a.named})
		}
		return lazy(func() (kept []value) {
			if !truth(v) {
				return nil
			}
			for _, x := range e.iterate(v) {
				if e.step(1); is(x) == keep {
					kept = append(kept, x)
				}
			}
			return kept
		})
	}
}
