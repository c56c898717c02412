package tokenizer

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// An attr is what is known of a token: its type, which may be several after
// llama.cpp's corrections, and whether white space around it is dropped.
type attr uint8

const (
	unknown attr = 1 << iota
	unused
	normal
	control
	userDefined
	byteToken
	stripLeft
	stripRight
)

// attrOf is the attr of a GGUF type; what has none spells nothing.
func attrOf(typ int32) attr {
	switch typ {
	case Normal:
		return normal
	case Unknown:
		return unknown
	case Control:
		return control
	case UserDefined:
		return userDefined
	case Unused:
		return unused
	case Byte:
		return byteToken
	}
	return 0
}

// endings are the texts of tokens that end an answer, whatever a file says.
var endings = []string{
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>",
	"</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>",
	"<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
}

// fills are the texts of the tokens for filling in the middle, by the key that
// names them; ends tells whether such a token ends an answer.
var fills = []struct {
	key   string
	ends  bool
	texts []string
}{
	{"fim_pre", false, []string{"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>", "<|prefix|>"}},
	{"fim_suf", false, []string{"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>", "<|suffix|>"}},
	{"fim_mid", false, []string{"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>", "<|middle|>"}},
	{"fim_pad", true, []string{"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
	{"fim_rep", true, []string{"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
	{"fim_sep", true, []string{"<|file_sep|>"}},
}

// findEndings lists the tokens that end an answer, and corrects the attrs of
// tokens whose texts tell what they are, both as llama.cpp does.
func (t *Tokenizer) findEndings() {
	eog, v := map[int32]bool{}, t.v
	for _, f := range fills {
		id := t.c.id(f.key)
		for _, text := range f.texts {
			if id != None {
				break
			}
			if id = v.find(text); id != None {
				v.attrs[id] |= control
			}
		}
		if f.ends && id != None {
			eog[id] = true
		}
	}
	for _, text := range endings {
		if id := v.find(text); id != None {
			eog[id] = true
			v.attrs[id] |= control
		}
	}
	for _, text := range []string{"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"} { // of gpt-oss, always shown
		if id := v.find(text); id != None {
			v.attrs[id] = userDefined
		}
	}
	for _, key := range []string{"eos", "eot", "eom"} {
		if id := t.c.id(key); id != None {
			eog[id] = true
		}
	}
	t.eog = eog
	t.correctEndings()
}

// correctEndings takes out what only looks like an ending.
func (t *Tokenizer) correctEndings() {
	ends := func(text string) bool { return t.eog[t.v.find(text)] }
	if end := t.v.find("<|end|>"); t.eog[end] {
		called := ends("<|call|>") || ends("<|calls|>")
		if called && (ends("<|return|>") || ends("<|flush|>")) {
			delete(t.eog, end)
			t.v.attrs[end] = userDefined
		}
	}
	if s := t.v.find("</s>"); t.eog[s] && (ends("<|tool_response>") || ends("<|plamo:eos|>")) {
		delete(t.eog, s)
		t.v.attrs[s] = normal
	}
}

// findStrips marks the tokens around which white space is dropped. No file says
// so: it is known by the model's name, as in llama.cpp.
func (t *Tokenizer) findStrips() {
	mark := func(text string, a attr) {
		if id := t.v.find(text); id != None {
			t.v.attrs[id] |= a
		}
	}
	has := func(s string, parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(s, part) })
	}
	name := strings.ToLower(t.c.Name)
	switch {
	case has(t.c.Pre, "jina-v2-de", "jina-v2-es", "jina-v2-code", "mmbert"), has(t.c.Arch, "nomic-bert-moe", "jina-bert-v3"):
		mark("<mask>", stripLeft)
	case has(name, "phi-3", "phi3"):
		for i, a := range t.v.attrs {
			if a&(control|userDefined|unknown) != 0 {
				t.v.attrs[i] |= stripRight
			}
		}
		mark("</s>", stripRight)
		for _, text := range []string{"<unk>", "<s>", "<|endoftext|>"} {
			if id := t.v.find(text); id != None {
				t.v.attrs[id] &^= stripRight
			}
		}
	case has(name, "modern-bert"):
		mark("[MASK]", stripLeft)
	}
}

// specials are the tokens that are looked for in a text before all others.
type specials struct {
	once  sync.Once
	all   *ordered
	plain *ordered // those that are found in text that is just text
}

// An ordered list knows which of its tokens goes first where two of them overlap:
// the longer one, of equally long ones the lower id.
type ordered struct {
	*sorted
	rank    []uint32 // of each token of the list; 0 goes first
	shorter []int32  // the next shorter token that each begins with, or None
}

func newOrdered(v *vocab, keep func(attr) bool) *ordered {
	o := &ordered{sorted: newSorted(v, keep)}
	n := len(o.ids)
	o.rank, o.shorter = make([]uint32, n), make([]int32, n)
	order := make([]int32, n)
	top := None // of those that the one before begins with, and is itself
	for k := range o.ids {
		order[k] = int32(k)
		for top != None && !strings.HasPrefix(v.text(o.ids[k]), v.text(o.ids[top])) {
			top = o.shorter[top]
		}
		o.shorter[k], top = top, int32(k)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(len(v.text(o.ids[b]))-len(v.text(o.ids[a])), int(o.ids[a]-o.ids[b]))
	})
	for i, k := range order {
		o.rank[k] = uint32(i)
	}
	return o
}

func (t *Tokenizer) specialTokens(parse bool) *ordered {
	s := &t.special
	s.once.Do(func() {
		s.all = newOrdered(t.v, func(a attr) bool { return a&(control|userDefined|unknown) != 0 })
		s.plain = newOrdered(t.v, func(a attr) bool { return a&userDefined != 0 && a&(control|unknown) == 0 })
	})
	if parse {
		return s.all
	}
	return s.plain
}

// A fragment is a special token, or a text when id is None.
type fragment struct {
	from, to int
	id       int32
}

// fragments cuts the special tokens out of a text: all of the first one, from
// left to right, then all of the next, and so on, as if one were done after the
// other. It takes n·log(n) steps for n bytes, however many tokens there are.
func (t *Tokenizer) fragments(text string, parse bool) []fragment {
	list := t.specialTokens(parse)
	queue := list.hits(text)
	if len(queue) == 0 {
		return []fragment{{0, len(text), None}}
	}
	taken := make([]bool, len(text))
	var found []fragment
	for len(queue) > 0 {
		c := queue.pop()
		id, from := list.ids[c.right], int(c.left)
		to := from + int(c.size)
		switch {
		case taken[from]: // by one that was first, so shorter ones are out as well
		case taken[to-1]: // what is taken is at least as long: it would hold one of the ends
			if k := list.shorter[c.right]; k != None {
				queue.push(list.hit(from, k))
			}
		default:
			found = append(found, fragment{from, to, id})
			take(text, taken, from, to, t.v.attrs[id])
		}
	}
	slices.SortFunc(found, func(a, b fragment) int { return a.from - b.from })
	return between(found, taken)
}

// hit is the token k of the list at a place in the text.
func (o *ordered) hit(at int, k int32) candidate {
	return candidate{o.rank[k], int32(at), k, int32(len(o.v.text(o.ids[k])))}
}

// hits are the longest tokens of the list that begin at each place in a text.
func (o *ordered) hits(text string) heap {
	var queue heap
	if len(o.ids) == 0 {
		return nil
	}
	raw := []byte(text)
	for i, b := range raw {
		if o.by[b] == o.by[int(b)+1] {
			continue
		}
		longest := None
		o.walk(raw[i:], func(k, _ int) { longest = int32(k) })
		if longest != None {
			queue.push(o.hit(i, longest))
		}
	}
	return queue
}

// take marks the bytes of a token and of the white space that goes with it.
func take(text string, taken []bool, from, to int, a attr) {
	for i := from; i < to; i++ {
		taken[i] = true
	}
	drop := func(i int) bool {
		free := i >= 0 && i < len(text) && !taken[i] && strings.IndexByte(" \t\n\v\f\r", text[i]) >= 0
		if free {
			taken[i] = true
		}
		return free
	}
	if a&stripLeft != 0 {
		for i := from - 1; drop(i); i-- {
		}
	}
	if a&stripRight != 0 {
		for i := to; drop(i); i++ {
		}
	}
}

// between puts the texts between the tokens found, less the white space taken.
func between(found []fragment, taken []bool) []fragment {
	all := make([]fragment, 0, 2*len(found)+1)
	text := func(from, to int) {
		for from < to && taken[from] {
			from++
		}
		for from < to && taken[to-1] {
			to--
		}
		if from < to {
			all = append(all, fragment{from, to, None})
		}
	}
	end := 0
	for _, f := range found {
		text(end, f.from)
		all = append(all, f)
		end = f.to
	}
	text(end, len(taken))
	return all
}
