package chat

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// A kind is a kind of token.
type kind int

const (
	textToken   kind = iota // outside of tags
	printOpen               // {{
	printClose              // }}
	blockOpen               // {%
	blockClose              // %}
	nameToken               // a name or keyword
	stringToken             // its value
	intToken
	floatToken
	opToken
	endToken
)

type token struct {
	kind kind
	text string
	line int
}

// A lexer cuts a template into tokens.
type lexer struct {
	src    string
	at     int
	line   int
	tokens []token
	depth  int // of open brackets in a tag
}

// lex returns the tokens, the last one an endToken.
func lex(src string) []token {
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1}
	for l.at < len(l.src) {
		l.text()
	}
	l.add(endToken, "")
	return l.tokens
}

func (l *lexer) add(k kind, text string) { l.tokens = append(l.tokens, token{k, text, l.line}) }

// skip steps over n bytes and counts their lines.
func (l *lexer) skip(n int) {
	l.line += strings.Count(l.src[l.at:l.at+n], "\n")
	l.at += n
}

const blanks = " \t\n\r\f\v"

// text reads up to the next tag and the tag.
func (l *lexer) text() {
	rest := l.src[l.at:]
	n := tagStart(rest)
	if n < 0 {
		l.add(textToken, rest)
		l.skip(len(rest))
		return
	}
	text, tag := rest[:n], rest[n:n+2]
	mark := byte(0)
	if n+2 < len(rest) && (rest[n+2] == '-' || rest[n+2] == '+') {
		mark = rest[n+2]
	}
	switch {
	case mark == '-':
		text = strings.TrimRight(text, blanks)
	case mark != '+' && tag != "{{": // lstrip_blocks
		line := text[strings.LastIndexByte(text, '\n')+1:]
		atStart := len(line) < len(text) || l.at == 0 || l.src[l.at-1] == '\n'
		if strings.Trim(line, " \t") == "" && atStart {
			text = text[:len(text)-len(line)]
		}
	}
	if text != "" {
		l.add(textToken, text)
	}
	l.skip(n + 2)
	if mark != 0 {
		l.skip(1)
	}
	switch tag {
	case "{#":
		l.comment()
	case "{{":
		l.tag(printOpen, printClose, "}}")
	default:
		l.block()
	}
}

// tagStart is where the next tag begins, -1 when there is none.
func tagStart(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '{' || s[i+1] == '%' || s[i+1] == '#') {
			return i
		}
	}
	return -1
}

func (l *lexer) comment() {
	n := strings.Index(l.src[l.at:], "#}")
	if n < 0 {
		fail(l.line, "a comment without its end")
	}
	strip := n > 0 && l.src[l.at+n-1] == '-'
	l.skip(n + 2)
	l.after(strip, true)
}

// after takes away what follows a tag: all blanks behind -%}, one newline behind
// a block (trim_blocks).
func (l *lexer) after(strip, block bool) {
	switch rest := l.src[l.at:]; {
	case strip:
		l.skip(len(rest) - len(strings.TrimLeft(rest, blanks)))
	case block && strings.HasPrefix(rest, "\n"):
		l.skip(1)
	}
}

// block reads a block tag; the inside of raw is text.
func (l *lexer) block() {
	start := len(l.tokens)
	l.tag(blockOpen, blockClose, "%}")
	inside := l.tokens[start:]
	if len(inside) != 3 || inside[1].text != "raw" {
		return
	}
	l.tokens = l.tokens[:start]
	rest := l.src[l.at:]
	for at := 0; ; {
		n := strings.Index(rest[at:], "{%")
		if n < 0 {
			fail(l.line, "raw without endraw")
		}
		at += n
		head := strings.TrimLeft(rest[at+2:], "-+")
		if body, ok := strings.CutPrefix(strings.TrimLeft(head, blanks), "endraw"); ok {
			l.endRaw(rest[:at], rest[at:], body)
			return
		}
		at += 2
	}
}

// endRaw adds a raw text and steps over the tag that ends it.
func (l *lexer) endRaw(text, tag, tail string) {
	end := strings.Index(tail, "%}")
	if end < 0 {
		fail(l.line, "endraw without its end")
	}
	skip := len(text) + len(tag) - len(tail) + end + 2
	if strings.HasPrefix(tag, "{%-") {
		text = strings.TrimRight(text, blanks)
	}
	l.add(textToken, text)
	l.skip(skip)
	l.after(end > 0 && tail[end-1] == '-', true)
}

// tag reads the tokens of a tag to its end.
func (l *lexer) tag(open, shut kind, end string) {
	l.add(open, "")
	line := l.line
	for l.depth = 0; ; {
		rest := l.src[l.at:]
		l.skip(len(rest) - len(strings.TrimLeft(rest, blanks)))
		rest = l.src[l.at:]
		if rest == "" {
			fail(line, "a tag without its end %q", end)
		}
		if l.depth == 0 {
			for _, mark := range []string{"", "-", "+"} {
				if strings.HasPrefix(rest, mark+end) {
					l.add(shut, "")
					l.skip(len(mark + end))
					l.after(mark == "-", shut == blockClose && mark != "+")
					return
				}
			}
		}
		l.inside(rest)
	}
}

// operators, the longer ones first.
var operators = []string{"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "|", ".", ",", ":", "(", ")", "[", "]", "{", "}"}

// inside reads one token of a tag.
func (l *lexer) inside(rest string) {
	c := rest[0]
	switch {
	case c == '"' || c == '\'':
		l.str(rest)
	case c >= '0' && c <= '9':
		l.number(rest)
	case nameByte(c):
		n := 1
		for n < len(rest) && (nameByte(rest[n]) || rest[n] >= '0' && rest[n] <= '9') {
			n++
		}
		l.add(nameToken, rest[:n])
		l.skip(n)
	default:
		for _, op := range operators {
			if strings.HasPrefix(rest, op) {
				l.bracket(op)
				l.add(opToken, op)
				l.skip(len(op))
				return
			}
		}
		r, _ := utf8.DecodeRuneInString(rest)
		fail(l.line, "unexpected %q", r)
	}
}

func (l *lexer) bracket(op string) {
	switch op {
	case "(", "[", "{":
		l.depth++
	case ")", "]", "}":
		if l.depth--; l.depth < 0 {
			fail(l.line, "unexpected %q", op)
		}
	}
}

func nameByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}

func (l *lexer) number(rest string) {
	n, k := 0, intToken
	for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '_') {
		n++
	}
	if n+1 < len(rest) && rest[n] == '.' && rest[n+1] >= '0' && rest[n+1] <= '9' {
		k = floatToken
		for n++; n < len(rest) && rest[n] >= '0' && rest[n] <= '9'; n++ {
		}
	}
	l.add(k, strings.ReplaceAll(rest[:n], "_", ""))
	l.skip(n)
}

// str reads a string with Python's escapes.
func (l *lexer) str(rest string) {
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == rest[0]:
			l.add(stringToken, b.String())
			l.skip(i + 1)
			return
		case rest[i] == '\\' && i+1 < len(rest):
			i += l.escape(&b, rest[i+1:])
		default:
			b.WriteByte(rest[i])
		}
	}
	fail(l.line, "a string without its end")
}

// escape writes what an escape means and returns its length behind the backslash.
func (l *lexer) escape(b *strings.Builder, s string) int {
	simple := map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': `"`, 'b': "\b", 'f': "\f", 'v': "\v", 'a': "\a", '0': "\x00", '\n': ""}
	if text, ok := simple[s[0]]; ok {
		b.WriteString(text)
		return 1
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]
	if digits > 0 && len(s) > digits {
		if n, err := strconv.ParseUint(s[1:1+digits], 16, 32); err == nil {
			b.WriteRune(rune(n))
			return 1 + digits
		}
	}
	b.WriteByte('\\') // Python keeps an unknown escape as it is
	b.WriteByte(s[0])
	return 1
}
