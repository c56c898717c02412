package fetch

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"rbee/core"
)

// A variant is one model of a repository: a file, or a set of parts.
type variant struct {
	tag   string  // the quantization; "" when the name does not say
	name  string  // path of the file, or of the first part
	parts []entry // those that are there, in order
	lacks []int   // the numbers of parts that are not, the first of them
	size  int64   // of all parts, in bytes
}

// whole refuses a set that has not all of its parts.
func (v variant) whole(ref core.Hub) error {
	if len(v.lacks) == 0 {
		return nil
	}
	return &core.Fault{
		Kind: core.ModelNotFound, What: fmt.Sprintf("%s: of the parts of %s the repository lacks %s", ref.Ref(), v.name, strings.Trim(fmt.Sprint(v.lacks), "[]")),
		Try: "name another quantization",
	}
}

var partPattern = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// A set is what was found of a model's parts, by number; most have one.
type set struct {
	count int
	parts map[int]entry
}

// variants are the models of a repository's files, by name. Files that go with a
// model but are none are not among them.
func variants(entries []entry) []variant {
	sets := map[string]set{}
	for _, e := range entries {
		if !strings.HasSuffix(strings.ToLower(e.Path), ".gguf") || companion(e.Path) {
			continue
		}
		key, part, count := e.Path, 1, 1
		if m := partPattern.FindStringSubmatch(e.Path); m != nil {
			part, _ = strconv.Atoi(m[2]) // digits
			count, _ = strconv.Atoi(m[3])
			key = m[1] + "/" + m[3]
		}
		if part < 1 || part > count {
			continue
		}
		if _, ok := sets[key]; !ok {
			sets[key] = set{count, map[int]entry{}}
		}
		sets[key].parts[part] = e
	}
	var all []variant
	for _, s := range sets {
		all = append(all, s.variant())
	}
	slices.SortFunc(all, func(a, b variant) int { return cmp.Compare(a.name, b.name) })
	return all
}

// variant puts the parts in order, and counts what is missing up to a few.
func (s set) variant() (v variant) {
	for _, part := range slices.Sorted(maps.Keys(s.parts)) {
		e := s.parts[part]
		v.parts, v.size, v.name = append(v.parts, e), v.size+e.bytes(), cmp.Or(v.name, e.Path)
	}
	v.tag = Quantization(v.name)
	for part := 1; part <= s.count && len(v.lacks) < min(s.count-len(s.parts), 10); part++ {
		if _, ok := s.parts[part]; !ok {
			v.lacks = append(v.lacks, part)
		}
	}
	return v
}

// companion tells files that are no models of text: projectors of images, statistics
// of quantization, vocabularies alone, adapters.
func companion(file string) bool {
	name := strings.ToLower(path.Base(file))
	for _, word := range []string{"mmproj", "imatrix", "ggml-vocab"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

var quantPattern = regexp.MustCompile(`(?i)^(?:|.*[^a-z0-9])(I?Q[1-8](?:_(?:[0-8]|K|NL|XXS|XS|XL|S|M|L|P))*|TQ[12]_0|BF16|FP?16|FP?32|MXFP4(?:_MOE)?|NVFP4)(?:[^a-z0-9].*)?$`)

// Quantization is what the path of a file says of it, in capitals: the last word of
// its name that is one, else of a directory's; "" when there is none.
func Quantization(file string) string {
	file = file[:len(file)-len(path.Ext(file))]
	for _, name := range slices.Backward(strings.Split(file, "/")) {
		m := quantPattern.FindStringSubmatchIndex(name)
		if m == nil {
			continue
		}
		tag := written(name[m[2]:m[3]])
		if before := strings.ToUpper(name[:m[2]]); before == "UD-" || strings.HasSuffix(before, "-UD-") { // Unsloth's dynamic ones
			tag = "UD-" + tag
		}
		return tag
	}
	return ""
}

// written is a quantization as it is asked for.
func written(tag string) string {
	tag = strings.ToUpper(tag)
	if tag == "FP16" || tag == "FP32" {
		return "F" + tag[2:]
	}
	return tag
}

// tagged finds what a reference with a tag names.
func tagged(ref core.Hub, list []variant) (variant, error) {
	if ref.File() {
		i := slices.IndexFunc(list, func(v variant) bool {
			return slices.ContainsFunc(v.parts, func(e entry) bool { return e.Path == ref.Tag })
		})
		if i < 0 {
			return variant{}, notThere(ref, list)
		}
		v := list[i]
		v.tag = "" // it stays the name
		return v, nil
	}
	same := having(list, ref.Tag)
	switch len(same) {
	case 0:
		return variant{}, notThere(ref, list)
	case 1:
		return same[0], nil
	}
	return variant{}, ambiguous(ref, same)
}

// having are the variants of one quantization.
func having(list []variant, tag string) (same []variant) {
	for _, v := range list {
		if v.tag == written(tag) {
			same = append(same, v)
		}
	}
	return same
}

// untagged are the variants to try, the first first: those of core.Preferred that are
// there whole, and once. The only model of a repository needs no quantization.
func untagged(ref core.Hub, list []variant) (out []variant, err error) {
	if len(list) == 1 {
		return list, nil
	}
	for _, tag := range core.Preferred {
		same := having(list, tag)
		switch {
		case len(same) > 1:
			err = cmp.Or(err, ambiguous(core.Hub{Repo: ref.Repo, Revision: ref.Revision, Tag: tag}, same))
		case len(same) == 1 && len(same[0].lacks) > 0:
			err = cmp.Or(err, same[0].whole(ref))
		case len(same) == 1:
			out = append(out, same[0])
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case err != nil:
		return nil, err
	}
	return nil, &core.Fault{
		Kind: core.ModelNotFound, What: fmt.Sprintf("%s has none of %s", ref.Ref(), strings.Join(core.Preferred, ", ")),
		Facts: []core.Fact{core.Text("available", tags(list))}, Try: "name one, as in " + example(ref, list[0]),
	}
}

// notThere is the fault of a tag that a repository does not have: it says what it has.
func notThere(ref core.Hub, list []variant) error {
	repo := core.Hub{Repo: ref.Repo, Revision: ref.Revision}
	names := make([]string, len(list))
	for i, v := range list {
		if names[i] = v.tag; ref.File() {
			names[i] = v.name
		}
	}
	try := list[0]
	if near := core.Nearest(ref.Tag, names, 1); len(near) > 0 {
		try = list[slices.Index(names, near[0])]
	}
	f := &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("%s has no %s", repo.Ref(), ref.Tag), Facts: []core.Fact{core.Text("available", tags(list))}, Try: example(repo, try)}
	if ref.File() {
		f.Facts = []core.Fact{core.Text("files", few(names))}
		f.Try = string(core.Hub{Repo: ref.Repo, Revision: ref.Revision, Tag: try.name}.Ref())
	}
	return f
}

// ambiguous is the fault of a quantization that several models of a repository have.
func ambiguous(ref core.Hub, same []variant) error {
	names := make([]string, len(same))
	for i, v := range same {
		names[i] = v.name
	}
	return &core.Fault{
		Kind: core.Invalid, What: fmt.Sprintf("%s has %d models that are %s", core.Hub{Repo: ref.Repo, Revision: ref.Revision}.Ref(), len(same), written(ref.Tag)),
		Facts: []core.Fact{core.Text("files", few(names))},
		Try:   "name the file: " + string(core.Hub{Repo: ref.Repo, Revision: ref.Revision, Tag: names[0]}.Ref()),
	}
}

// example is a reference to a variant.
func example(ref core.Hub, v variant) string {
	ref.Tag = cmp.Or(v.tag, v.name)
	return string(ref.Ref())
}

// tags lists the quantizations of variants, and the names of those without.
func tags(list []variant) string {
	all := map[string]bool{}
	for _, v := range list {
		all[cmp.Or(v.tag, v.name)] = true
	}
	return few(slices.Sorted(maps.Keys(all)))
}

// few joins names, not more than a person reads.
func few(names []string) string {
	const most = 40
	if len(names) > most {
		return strings.Join(names[:most], " ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, " ")
}

// noGGUF is the fault of a repository without models that we could run.
func (h *Hub) noGGUF(ref core.Hub, entries []entry) error {
	f := &core.Fault{
		Kind: core.Unsupported, What: fmt.Sprintf("%s has no GGUF file of a model", ref.Ref()),
		Try: "look for a repository of the same model whose name ends in -GGUF",
	}
	if slices.ContainsFunc(entries, func(e entry) bool { return strings.HasSuffix(e.Path, ".safetensors") }) {
		f.What += ", only safetensors, which are not supported"
	}
	return f
}
