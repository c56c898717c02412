package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A pre is what a pre-tokenizer's name stands for.
type pre struct {
	names  string // separated by spaces
	steps  func() []step
	whole  bool // a word that is a token is not taken apart
	bos    bool // BOS is put in front when the file does not say
	raw    bool // words are written as they are, not byte by byte
	meta   bool // a space is written ▁
	feeds  bool // a word of line feeds that is a token is not taken apart
	marked bool // every word begins with ▁
	noBOS  bool // there is no BOS when the file does not name one
}

// The sets that splits without categories are made of.
var (
	kana     = sync.OnceValue(func() set { return setOf("一-龥\u3040-ゟ゠-ヿ") })
	cjk      = sync.OnceValue(func() set { return setOf("一-龥ࠀ-一가-\ud7ff") })
	alphabet = sync.OnceValue(func() set {
		return setOf("A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼ" +
			"ℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳ\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943")
	})
	signs = sync.OnceValue(func() set { return setOf("!-/:-~\uff01-\uff0f\uff1a-\uff5e‘-‟\u3000-\u3002") })
	asian = sync.OnceValue(func() set {
		return setOf("一-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-ゟ゠-ヿ\uff65-\uff9f\u2f00-\u2fdfเ-\u0e7f\u0e80-\u0effក-\u17ffက-႟\uaa60-\uaa7f\ua9e0-\ua9ff가-\ud7afᄀ-ᇿ")
	})
	hangul = sync.OnceValue(func() set { return setOf("가-힣\u3131-\u318e") })
	quotes = sync.OnceValue(func() set { return setOf("\uff01…“”‘’—\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f") })
	zhuyin = sync.OnceValue(func() set { return setOf("\u3105-\u312f") })
	stops  = sync.OnceValue(func() set { return setOf("(|.,!?…\u3002\uff0c\u3001।۔،)") })
)

var (
	llama3 = pattern{short: true, word: run(let), numbers: 3, tail: "\r\n", tails: -1}
	qwen2  = pattern{short: true, word: run(let), numbers: 1, tail: "\r\n", tails: -1}
	gpt4o  = pattern{word: cased(let, true), numbers: 3, tail: "\r\n/", tails: -1}
)

// pres are all pre-tokenizers that llama.cpp b11434 knows.
var pres = []pre{
	{names: "default", steps: splitDefault},
	{names: "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jina-v1-en jina-v2-code " +
		"roberta-bpe exaone4 mpt olmo jais trillion granite-docling", steps: one(each(gpt2))},
	{names: "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", steps: one(llama3.step()), whole: true, bos: true},
	{names: "dbrx smaug-bpe", steps: one(llama3.step())},
	{names: "chatglm-bpe", steps: one(llama3.step()), noBOS: true},
	{names: "glm4 glm5", steps: one(llama3.step()), noBOS: true, whole: true},
	{names: "jais-2", steps: one(pattern{short: true, word: run(let), numbers: 3, tail: "\r\n", tails: -1, cascade: true}.step())},
	{names: "minicpm5", steps: one(each(numbers(3)), llama3.step()), whole: true},
	{names: "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2 bailingmoe bailingmoe2 llada-moe", steps: one(qwen2.step())},
	{names: "qwen35", steps: one(pattern{short: true, word: run(let | mark), numbers: 1, marks: mark, tail: "\r\n", tails: -1}.step())},
	{names: "ufakzeka", steps: one(pattern{word: run(let), numbers: 1, tail: "\r\n", tails: -1}.step())},
	{names: "seed-coder", steps: one(pattern{short: true, word: run(let), numbers: 1}.step())},
	{names: "exaone-moe", steps: one(pattern{short: true, word: phrase, numbers: 1, tail: "\r\n/", tails: 1}.step())},
	{names: "laguna", steps: one(feeds, qwen2.step())},
	{names: "gpt-4o llama4 kanana2 talkie minimax-m2", steps: one(gpt4o.step())},
	{names: "granite-embed-multi-97m", steps: one(pattern{word: cased(let|mark, true), numbers: 3, tail: "\r\n/", tails: -1}.step()), whole: true},
	{names: "tekken", steps: one(pattern{word: cased(let, false), numbers: 1, tail: "\r\n/", tails: -1}.step()), whole: true, bos: true},
	{names: "tiny_aya cohere2moe", steps: one(groups, pattern{word: runShort, numbers: 3, tail: "\r\n/", tails: -1}.step())},
	{names: "youtu", steps: splitYoutu, whole: true},
	{names: "kimi-k2", steps: one(pattern{word: kimiWord, numbers: 3, tail: "\r\n", tails: -1}.step())},
	{names: "deepseek-llm", steps: splitDeepseekLLM},
	{names: "deepseek-coder", steps: splitDeepseekCoder},
	{names: "deepseek-v3 hunyuan-dense joyai-llm hy_v4", steps: func() []step { return []step{each(numbers(3)), each(allIn(kana(), false)), each(deepseek)} }},
	{names: "spark2_5", steps: func() []step {
		return []step{each(numbers(3)), each(allIn(kana(), false)), each(spark), each(numbers(1))}
	}},
	{names: "afmoe", steps: func() []step { return []step{groups, each(allIn(asian(), false)), each(deepseek)} }},
	{names: "falcon", steps: one(each(marksOf("$+<=>^~|`")), each(gpt2), each(threeDigits))},
	{names: "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", steps: one(each(numbers(1)), each(gpt2))},
	{names: "poro-chat bloom gpt3-finnish", steps: func() []step { return []step{each(bloomWord)} }},
	{names: "viking", steps: func() []step { return []step{each(bloomWord), each(numbers(1))} }},
	{names: "chameleon", steps: one(each(sentinel), each(image), each(indent), each(numbers(1)), each(asciiMarks), each(gpt2)), bos: true},
	{names: "superbpe", steps: one(each(numbers(0)), thousands)},
	{names: "whitespace", steps: one(each(func(s *scan, i int) int { return s.whileNot(i, blank) })), raw: true},
	{names: "gemma4 granite-embed-multi-311m", steps: one(feeds), raw: true, meta: true, feeds: true, bos: true},
	{names: "mmbert", steps: one(feeds), raw: true, meta: true, feeds: true, marked: true},
	{names: "sarvam-moe", steps: one(feeds), raw: true, meta: true},
}

// one is a list of steps that needs no set.
func one(steps ...step) func() []step { return func() []step { return steps } }

// findPre returns what a name stands for. A file without a name has "default".
func findPre(name string) (pre, error) {
	if name == "" {
		name = "default"
	}
	var known []string
	for _, p := range pres {
		names := strings.Fields(p.names)
		if slices.Contains(names, name) {
			return p, nil
		}
		known = append(known, names...)
	}
	slices.Sort(known)
	return pre{}, fmt.Errorf("tokenizer: tokenizer.ggml.pre: pre-tokenizer %q is %w, only: %s", name, ErrUnsupported, strings.Join(known, " "))
}

// splitDefault is
//
//	[\p{P}\$\+<=>\^~\|]+    then GPT-2's    then \p{N}+    then [0-9][0-9][0-9]
func splitDefault() []step {
	return []step{each(marksOf("$+<=>^~|")), each(gpt2), each(numbers(0)), each(threeDigits)}
}

// splitDeepseekLLM is
//
//	[\r\n]    \s?[alphabet]+    \s?[signs]+    \s+$    [cjk]+    \p{N}+
func splitDeepseekLLM() []step {
	return []step{
		each(newline), each(allIn(alphabet(), true)), each(allIn(signs(), true)),
		each(lastBlanks), each(allIn(cjk(), false)), each(numbers(0)),
	}
}

// splitDeepseekCoder is
//
//	[\r\n]    \s?\p{L}+    \s?\p{P}+    [cjk]+    \p{N}
func splitDeepseekCoder() []step {
	return []step{each(newline), each(afterBlank(let)), each(afterBlank(punct)), each(allIn(cjk(), false)), each(numbers(1))}
}

// splitYoutu cuts out stretches of one script, then takes words of letters and
// marks with their contractions.
func splitYoutu() []step {
	scripts := []next{allIn(hangul(), false), allIn(quotes(), false), allIn(zhuyin(), false), allIn(kana(), false)}
	return []step{each(func(s *scan, i int) int {
		for _, script := range scripts {
			if end := script(s, i); end > i {
				return end
			}
		}
		return i
	}), pattern{word: runShort, numbers: 1, tail: "\r\n/", tails: -1}.step()}
}

// runShort is run(let|mark) with a contraction behind.
func runShort(s *scan, i int) int {
	if end := run(let|mark)(s, i); end > i {
		return s.contraction(end, true)
	}
	return i
}

// marksOf is [\p{P}others]+.
func marksOf(others string) next {
	return func(s *scan, i int) int {
		for s.is(i, punct) || s.is(i, sym) && s.runes[i] < 0x80 && strings.ContainsRune(others, s.runes[i]) {
			i++
		}
		return i
	}
}

// asciiMarks is [\p{P}!-/:-@\[-`{-~], one character.
func asciiMarks(s *scan, i int) int {
	if s.is(i, punct) || s.is(i, sym) && s.runes[i] < 0x80 {
		return i + 1
	}
	return i
}

// bloomWord is " ?[^(\s|.,!?…。，、।۔،)]+".
func bloomWord(s *scan, i int) int {
	end := i
	if s.rune(i) == ' ' {
		end++
	}
	start := end
	for s.isNot(end, blank) && !stops().has(s.runes[end]) {
		end++
	}
	if end > start {
		return end
	}
	return i
}

func (s *scan) literal(i int, text string) int {
	for _, r := range text {
		if s.rune(i) != r {
			return -1
		}
		i++
	}
	return i
}

// sentinel is <sentinel:[0-9]+>.
func sentinel(s *scan, i int) int {
	start := s.literal(i, "<sentinel:")
	if start < 0 {
		return i
	}
	end := start
	for isDigit(s.rune(end)) {
		end++
	}
	if end > start && s.rune(end) == '>' {
		return end + 1
	}
	return i
}

// image is IMGIMG[A-I]{1,4}Z.
func image(s *scan, i int) int {
	start := s.literal(i, "IMGIMG")
	if start < 0 {
		return i
	}
	end := start
	for r := s.rune(end); end < start+4 && 'A' <= r && r <= 'I'; r = s.rune(end) {
		end++
	}
	if end > start && s.rune(end) == 'Z' {
		return end + 1
	}
	return i
}

// indent is [\t\n]|four spaces|two spaces.
func indent(s *scan, i int) int {
	if r := s.rune(i); r == '\t' || r == '\n' {
		return i + 1
	}
	for _, spaces := range []string{"    ", "  "} {
		if end := s.literal(i, spaces); end > i {
			return end
		}
	}
	return i
}
