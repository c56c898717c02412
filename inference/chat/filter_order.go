package chat

import "slices"

func addOrderFilters(filters map[string]filterFunc) {
	filters["sort"] = sortFilter
	filters["unique"] = uniqueFilter
	filters["min"] = extreme("min", -1)
	filters["max"] = extreme("max", 1)
	filters["groupby"] = groupByFilter
	filters["dictsort"] = dictSortFilter
}

// folded is a text in lower case unless case counts.
func folded(v value, caseCounts bool) value {
	if s, ok := asText(v); ok && !caseCounts {
		return lower(s)
	}
	return v
}

// A keyed is an item with what it is ordered by.
type keyed struct{ key, item value }

func (e *env) keyed(items []value, key func(value) value) []keyed {
	e.step(len(items))
	out := make([]keyed, len(items))
	for i, x := range items {
		out[i] = keyed{key(x), x}
	}
	return out
}

// sorted sorts and keeps the order of equals, in reverse too.
func (e *env) sorted(items []keyed, reverse bool) []value {
	slices.SortStableFunc(items, func(x, y keyed) int {
		c := e.compare("<", x.key, y.key)
		if c == 2 { // not a number
			c = 0
		}
		if reverse {
			return -c
		}
		return c
	})
	out := make([]value, len(items))
	for i, x := range items {
		out[i] = x.item
	}
	return out
}

func sortFilter(e *env, v value, a args) value {
	b := a.bind(e, "sort", "reverse", "case_sensitive", "attribute")
	paths := []value{b.or(2, nil)}
	if name, ok := asText(paths[0]); ok {
		paths = e.texts(splitCommas(name)).items
	}
	items := e.keyed(e.iterate(v), func(x value) value {
		key := &list{}
		for _, p := range paths {
			key.items = append(key.items, folded(e.path(x, p), truth(b.or(1, false))))
		}
		return key
	})
	return &list{items: e.sorted(items, truth(b.or(0, false)))}
}

func splitCommas(s string) []string { return splitRight(s, ",", len(s)) }

func uniqueFilter(e *env, v value, a args) value {
	b := a.bind(e, "unique", "case_sensitive", "attribute")
	return lazy(func() (kept []value) {
		seen := newDict()
		for _, x := range e.iterate(v) {
			key := folded(e.path(x, b.or(1, nil)), truth(b.or(0, false)))
			if _, ok := seen.get(key); ok {
				continue
			}
			if !seen.set(key, nil) {
				e.fail("unhashable type: '%s'", className(key))
			}
			kept = append(kept, x)
		}
		return kept
	})
}

// extreme is min or max: the first of the items that compare so.
func extreme(name string, sign int) filterFunc {
	return func(e *env, v value, a args) value {
		b := a.bind(e, name, "case_sensitive", "attribute")
		items := e.iterate(v)
		if len(items) == 0 {
			return undefined{"No aggregated item, sequence was empty."}
		}
		key := func(x value) value { return folded(e.path(x, b.or(1, nil)), truth(b.or(0, false))) }
		best, bestKey := items[0], key(items[0])
		for _, x := range items[1:] {
			if k := key(x); e.compare("<", k, bestKey) == sign {
				best, bestKey = x, k
			}
		}
		return best
	}
}

func groupByFilter(e *env, v value, a args) value {
	b := a.bind(e, "groupby", "attribute!", "default", "case_sensitive")
	raw := func(x value) value {
		k := e.path(x, b[0])
		if d := b.or(1, nil); d != nil && isUndefined(k) {
			return d
		}
		return k
	}
	key := func(x value) value { return folded(raw(x), truth(b.or(2, false))) }
	items := e.sorted(e.keyed(e.iterate(v), key), false)
	out := &list{}
	var group *list
	for i, x := range items {
		if i == 0 || !e.equal(key(x), key(items[i-1])) {
			group = &list{}
			out.items = append(out.items, &list{items: []value{raw(x), group}, kind: tuple, names: []string{"grouper", "list"}})
		}
		group.items = append(group.items, x)
	}
	return out
}

func dictSortFilter(e *env, v value, a args) value {
	b := a.bind(e, "dictsort", "case_sensitive", "by", "reverse")
	d, ok := v.(*dict)
	if !ok {
		e.defined(v)
		e.fail("dictsort: want a dict, got %s", className(v))
	}
	at := slices.Index([]string{"key", "value"}, e.text(b.or(1, "key")))
	if at < 0 {
		e.fail(`You can only sort by either "key" or "value"`)
	}
	items := e.keyed(d.view(dictItems).items, func(x value) value {
		return folded(x.(*list).items[at], truth(b.or(0, false)))
	})
	return &list{items: e.sorted(items, truth(b.or(2, false)))}
}
