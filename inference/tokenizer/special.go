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
	all   *sorted
	plain *sorted // those that are found in text that is just text
}

func (t *Tokenizer) specialTokens(parse bool) *sorted {
	s := &t.special
	s.once.Do(func() {
		s.all = newSorted(t.v, func(a attr) bool { return a&(control|userDefined|unknown) != 0 })
		s.plain = newSorted(t.v, func(a attr) bool { return a&userDefined != 0 && a&(control|unknown) == 0 })
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

// A hit is a token that stands somewhere in the text, first and last there.
type hit struct {
	id          int32
	first, last int
}

// fragments cuts the special tokens out of a text: the longest ones first, and
// of each the leftmost.
func (t *Tokenizer) fragments(text string, parse bool) []fragment {
	hits := hitsIn(text, t.specialTokens(parse))
	if len(hits) == 0 {
		return []fragment{{0, len(text), None}}
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(len(t.v.text(b.id))-len(t.v.text(a.id)), int(a.id-b.id))
	})
	taken := make([]bool, len(text))
	var found []fragment
	for _, h := range hits {
		word := t.v.text(h.id)
		for at := h.first; at <= h.last; {
			i := strings.Index(text[at:h.last+len(word)], word)
			if i < 0 {
				break
			}
			from, to := at+i, at+i+len(word)
			if at = from + 1; taken[from] || taken[to-1] {
				continue // what was taken is at least as long: it holds one of the ends
			}
			found = append(found, fragment{from, to, h.id})
			at = take(text, taken, from, to, t.v.attrs[h.id])
		}
	}
	slices.SortFunc(found, func(a, b fragment) int { return a.from - b.from })
	return between(found, taken)
}

// hitsIn lists the tokens of a list that stand in a text.
func hitsIn(text string, list *sorted) []hit {
	if len(list.ids) == 0 {
		return nil
	}
	var hits []hit
	at := map[int32]int{}
	raw := []byte(text)
	for i := range raw {
		if list.by[raw[i]] == list.by[int(raw[i])+1] {
			continue
		}
		list.walk(raw[i:], func(id int32, _ int) {
			k, ok := at[id]
			if !ok {
				k = len(hits)
				at[id] = k
				hits = append(hits, hit{id: id, first: i})
			}
			hits[k].last = i
		})
	}
	return hits
}

// take marks the bytes of a token and of the white space that goes with it. It
// returns their end.
func take(text string, taken []bool, from, to int, a attr) int {
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
		for drop(to) {
			to++
		}
	}
	return to
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
