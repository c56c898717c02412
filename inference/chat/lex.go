package chat

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
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
	open   []byte // the brackets that are to be closed in a tag
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

// isSpace is Python's idea of white space, which templates are trimmed by.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func trimLeft(s string) string  { return strings.TrimLeftFunc(s, isSpace) }
func trimRight(s string) string { return strings.TrimRightFunc(s, isSpace) }

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
	if mark == '-' || tag != "{{" {
		text = l.lstrip(text, mark)
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

// lstrip takes away the blanks before a tag that is not printed: all of them by a
// minus, else those of its line when nothing else is on it (lstrip_blocks).
func (l *lexer) lstrip(text string, mark byte) string {
	switch mark {
	case '+':
		return text
	case '-':
		return trimRight(text)
	}
	line := text[strings.LastIndexByte(text, '\n')+1:]
	atStart := len(line) < len(text) || l.at == 0 || l.src[l.at-1] == '\n'
	if atStart && trimLeft(line) == "" {
		return text[:len(text)-len(line)]
	}
	return text
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
	mark := byte(0)
	if n > 0 {
		mark = l.src[l.at+n-1]
	}
	l.skip(n + 2)
	l.after(mark, true)
}

// after takes away what follows a tag: all blanks behind a minus, one newline
// behind a block (trim_blocks) that has no plus.
func (l *lexer) after(mark byte, block bool) {
	switch rest := l.src[l.at:]; {
	case mark == '-':
		l.skip(len(rest) - len(trimLeft(rest)))
	case block && mark != '+' && strings.HasPrefix(rest, "\n"):
		l.skip(1)
	}
}

var (
	rawTag    = regexp.MustCompile(`^\s*raw\s*(-?)%}`)
	endRawTag = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*([-+]?)%}`)
)

// block reads a block tag; the inside of raw is text.
func (l *lexer) block() {
	m := rawTag.FindStringSubmatch(l.src[l.at:])
	if m == nil {
		l.tag(blockOpen, blockClose, "%}")
		return
	}
	l.skip(len(m[0]))
	if m[1] == "-" {
		l.after('-', false)
	}
	rest := l.src[l.at:]
	at := endRawTag.FindStringSubmatchIndex(rest)
	if at == nil {
		fail(l.line, "raw without endraw")
	}
	if text := l.lstrip(rest[:at[0]], first(rest[at[2]:at[3]])); text != "" {
		l.add(textToken, text)
	}
	l.skip(at[1])
	l.after(first(rest[at[4]:at[5]]), true)
}

// first is the first byte of s, or zero.
func first(s string) byte {
	if s == "" {
		return 0
	}
	return s[0]
}

// tag reads the tokens of a tag to its end.
func (l *lexer) tag(open, shut kind, end string) {
	l.add(open, "")
	line := l.line
	for l.open = l.open[:0]; ; {
		rest := l.src[l.at:]
		if len(l.open) == 0 {
			mark := byte(0)
			if rest != "" && (rest[0] == '-' || rest[0] == '+' && shut == blockClose) {
				mark, rest = rest[0], rest[1:]
			}
			if strings.HasPrefix(rest, end) {
				l.add(shut, "")
				l.skip(len(l.src) - l.at - len(rest) + len(end))
				l.after(mark, shut == blockClose)
				return
			}
			rest = l.src[l.at:]
		}
		if n := len(rest) - len(trimLeft(rest)); n > 0 {
			l.skip(n)
			continue
		}
		if rest == "" {
			fail(line, "a tag without its end %q", end)
		}
		l.inside(rest)
	}
}

// operators, the longer ones first.
var operators = []string{"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "|", ".", ",", ":", ";", "(", ")", "[", "]", "{", "}"}

// inside reads one token of a tag.
func (l *lexer) inside(rest string) {
	c := rest[0]
	switch {
	case c == '"' || c == '\'':
		l.str(rest)
	case c >= '0' && c <= '9':
		l.number(rest)
	case nameLength(rest) > 0:
		n := nameLength(rest)
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
	case "(":
		l.open = append(l.open, ')')
	case "[":
		l.open = append(l.open, ']')
	case "{":
		l.open = append(l.open, '}')
	case ")", "]", "}":
		n := len(l.open) - 1
		if n < 0 {
			fail(l.line, "unexpected %q", op)
		}
		if l.open[n] != op[0] {
			fail(l.line, "unexpected %q, expected %q", op, string(l.open[n]))
		}
		l.open = l.open[:n]
	}
}

// nameLength is the length of the name that s begins with.
func nameLength(s string) int {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc)) {
			return i
		}
	}
	return len(s)
}

var (
	floatLiteral = regexp.MustCompile(`^(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)`)
	intLiteral   = regexp.MustCompile(`^(?:0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*)`)
)

// number reads a number. Behind a point it is an index: x.0.1 is no fraction.
func (l *lexer) number(rest string) {
	k, text := floatToken, floatLiteral.FindString(rest)
	if text == "" || l.src[l.at-1] == '.' {
		k, text = intToken, intLiteral.FindString(rest)
	}
	l.add(k, strings.ReplaceAll(text, "_", ""))
	l.skip(len(text))
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

// simpleEscapes are those of one character.
var simpleEscapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': `"`,
	'b': "\b", 'f': "\f", 'v': "\v", 'a': "\a", '\n': "",
}

// escape writes what an escape means and returns its length behind the backslash.
func (l *lexer) escape(b *strings.Builder, s string) int {
	if text, ok := simpleEscapes[s[0]]; ok {
		b.WriteString(text)
		return 1
	}
	if s[0] >= '0' && s[0] <= '7' {
		n := 1
		for n < min(3, len(s)) && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		c, _ := strconv.ParseUint(s[:n], 8, 32) // at most three octal digits
		b.WriteRune(rune(c))
		return n
	}
	if digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]; digits > 0 {
		c, err := strconv.ParseUint(s[1:min(len(s), 1+digits)], 16, 32)
		if err != nil || len(s) <= digits || c > unicode.MaxRune || c >= 0xd800 && c < 0xe000 {
			fail(l.line, "a bad escape \\%c in a string", s[0])
		}
		b.WriteRune(rune(c))
		return 1 + digits
	}
	if s[0] == 'N' {
		fail(l.line, "characters by name in a string are not supported")
	}
	if r, _ := utf8.DecodeRuneInString(s); r >= utf8.RuneSelf { // jinja2 escapes it, then Python the backslash
		p := printer{}
		p.escape(r)
		b.WriteString(p.b.String())
		return utf8.RuneLen(r)
	}
	b.WriteByte('\\') // Python keeps an unknown escape as it is
	b.WriteByte(s[0])
	return 1
}
