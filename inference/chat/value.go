package chat

import (
	"math"
	"math/big"
	"unicode/utf8"
)

// A value is nil (None), undefined, bool, int64, *big.Int, float64, string, markup,
// *list, *dict, *iterator, *namespace, *loop, *macro or *builtin.
// An integer that fits into an int64 is one.
type value any

// undefined is what a name stands for that nothing was set to. It may be printed,
// looped over and asked for its truth; anything else fails with its message.
type undefined struct{ message string }

// markup is a text that is safe in HTML. Texts that are added to it are escaped.
type markup string

// A listKind is a kind of sequence.
type listKind int

const (
	plainList listKind = iota
	tuple
	numberRange // written as such
	dictKeys    // a view: it has a length and items, but none by number
	dictValues
	dictItems
)

// A list is a sequence that never changes.
type list struct {
	items  []value
	kind   listKind
	names  []string     // of the items of a named tuple
	bounds numberBounds // of a range
}

// An iterator gives its items once. They are made when first asked for.
type iterator struct {
	name string // of what made it
	make func() []value
}

// take returns the items that are left.
func (it *iterator) take() []value {
	if it.make == nil {
		return nil
	}
	f := it.make
	it.make = nil
	return f()
}

// A dict keeps the order of its keys, as Python's does.
type dict struct {
	keys   []value
	values []value
	index  map[any]int // by hash
}

func newDict() *dict { return &dict{index: map[any]int{}} }

// tupleHash stands for a tuple among the hashes.
type tupleHash string

// hash returns what is equal for equal keys, and whether v may be a key.
func hash(v value) (any, bool) {
	switch v := v.(type) {
	case nil, string, undefined, *macro, *builtin, *loop, *namespace, *iterator:
		if _, is := v.(undefined); is {
			return undefined{}, true
		}
		return v, true
	case markup:
		return string(v), true
	case bool, int64:
		n, _ := integer(v)
		return n, true
	case *big.Int:
		return tupleHash(v.String()), true
	case float64:
		if n := int64(v); math.Abs(v) < 1<<62 && float64(n) == v {
			return n, true
		}
		return v, true
	case *list:
		return v.hash()
	}
	return nil, false
}

func (l *list) hash() (any, bool) {
	if l.kind != tuple {
		return nil, false
	}
	w := &printer{limit: 1 << 16}
	for _, item := range l.items {
		h, ok := hash(item)
		if !ok {
			return nil, false
		}
		switch h := h.(type) {
		case tupleHash:
			w.repr(string(h), 1)
		default:
			w.repr(h, 0)
		}
		w.b.WriteByte(',')
	}
	return tupleHash("(" + w.b.String()), true
}

func (d *dict) set(k, v value) bool {
	h, ok := hash(k)
	if !ok {
		return false
	}
	if i, ok := d.index[h]; ok {
		d.values[i] = v
		return true
	}
	d.index[h] = len(d.keys)
	d.keys, d.values = append(d.keys, k), append(d.values, v)
	return true
}

func (d *dict) get(k value) (value, bool) {
	h, ok := hash(k)
	if !ok {
		return nil, false
	}
	i, ok := d.index[h]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

// view returns the keys, values or pairs of a dict.
func (d *dict) view(kind listKind) *list {
	switch kind {
	case dictKeys:
		return &list{items: d.keys, kind: kind}
	case dictValues:
		return &list{items: d.values, kind: kind}
	}
	items := make([]value, len(d.keys))
	for i, k := range d.keys {
		items[i] = &list{items: []value{k, d.values[i]}, kind: tuple}
	}
	return &list{items: items, kind: dictItems}
}

// A namespace is what set ns.x = … writes to.
type namespace struct{ vars *dict }

// A macro is a function of the template.
type macro struct {
	n     *macroNode
	scope *scope // where it was made
}

// A builtin is a function of ours.
type builtin struct {
	name string
	call func(e *env, a args) value
}

// asText returns a text, whether it is markup or not.
func asText(v value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// like returns s as the kind of text that v is.
func like(v value, s string) value {
	if _, ok := v.(markup); ok {
		return markup(s)
	}
	return s
}

func truth(v value) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	case *list:
		return len(v.items) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

// typeName is what Python calls the type of v.
func typeName(v value) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case undefined:
		return "Undefined"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *list:
		return [...]string{"list", "tuple", "range", "dict_keys", "dict_values", "dict_items"}[v.kind]
	case *dict:
		return "dict"
	case *iterator:
		return v.name
	case *namespace:
		return "Namespace"
	case *loop:
		return "LoopContext"
	case *macro:
		return "Macro"
	}
	return "function"
}

// length is Python's len.
func length(v value) (int, bool) {
	switch v := v.(type) {
	case string:
		return utf8.RuneCountInString(v), true
	case markup:
		return utf8.RuneCountInString(string(v)), true
	case *list:
		return len(v.items), true
	case *dict:
		return len(v.keys), true
	case undefined:
		return 0, true
	case *loop:
		return len(v.items), true
	}
	return 0, false
}

// iterate returns the items of a sequence, the keys of a dict, the characters of a text.
func (e *env) iterate(v value) []value {
	items, ok := e.items(v)
	if !ok {
		e.fail("%s is not iterable", quoted(v))
	}
	e.step(len(items))
	return items
}

func (e *env) items(v value) ([]value, bool) {
	switch v := v.(type) {
	case undefined:
		return nil, true
	case *list:
		return v.items, true
	case *dict:
		return v.keys, true
	case *iterator:
		return v.take(), true
	case string, markup:
		s, _ := asText(v)
		e.step(len(s))
		var items []value
		for _, r := range s {
			items = append(items, like(v, string(r)))
		}
		return items, true
	}
	return nil, false
}

// quoted names the type of v in a message.
func quoted(v value) string {
	if v == nil {
		return "'NoneType' object"
	}
	return "'" + typeName(v) + "' object"
}
