package chat

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

type goldens struct {
	BOS           string `json:"bos_token"`
	EOS           string `json:"eos_token"`
	Now           string `json:"now"`
	Conversations []struct {
		Name     string            `json:"name"`
		Messages []json.RawMessage `json:"messages"`
		Tools    json.RawMessage   `json:"tools"`
		Prompt   bool              `json:"add_generation_prompt"`
		Kwargs   json.RawMessage   `json:"kwargs"`
	} `json:"conversations"`
	Cases []struct {
		Template     string  `json:"template"`
		Conversation string  `json:"conversation"`
		Text         *string `json:"text"`
		Error        string  `json:"error"`
	} `json:"cases"`
}

func golden(t testing.TB) (c goldens) {
	t.Helper()
	b, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// The bytes are those that transformers makes of the same templates.
func TestGolden(t *testing.T) {
	g := golden(t)
	now, err := time.Parse("2006-01-02 15:04:05", g.Now)
	if err != nil {
		t.Fatal(err)
	}
	inputs := map[string]Input{}
	for _, c := range g.Conversations {
		inputs[c.Name] = Input{c.Messages, c.Tools, c.Prompt, g.BOS, g.EOS, c.Kwargs, now}
	}
	for _, c := range g.Cases {
		t.Run(c.Template+"/"+c.Conversation, func(t *testing.T) {
			src, err := os.ReadFile("testdata/" + c.Template)
			if err != nil {
				t.Fatal(err)
			}
			tmpl, err := Parse(string(src))
			if err != nil {
				t.Fatal(err)
			}
			got, err := tmpl.Render(inputs[c.Conversation])
			if c.Error != "" {
				said, ok := errors.AsType[*Refusal](err)
				if _, want, _ := strings.Cut(c.Error, ": "); err == nil || strings.HasPrefix(c.Error, "TemplateError") && (!ok || said.Message != want) {
					t.Errorf("got %q, %v; want the error %q", got, err, c.Error)
				}
				return
			}
			if err != nil || got != *c.Text {
				t.Errorf("got  %q, %v\nwant %q", got, err, *c.Text)
			}
		})
	}
}

func render(src, vars string) (string, error) {
	t, err := Parse(src)
	if err != nil {
		return "", err
	}
	return t.Render(Input{Kwargs: json.RawMessage(vars), Now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)})
}

// What Jinja2 3.1 gives.
func TestLanguage(t *testing.T) {
	tests := []struct{ src, want string }{
		{`{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 }}`, "7 3 2 3.5 8"},
		{`{{ "a" ~ 1 ~ none ~ true }} {{ "ab" * 2 }}`, "a1NoneTrue abab"},
		{`{{ 1 < 2 < 3 }} {{ 1 in [1, 2] }} {{ "x" not in "abc" }} {{ not 1 == 2 }}`, "True True True True"},
		{`{{ x.a[0].b }} {{ x["a"][-1]["b"] }} {{ x.missing }}|`, "1 1 |"},
		{`{{ "abcdef"[1:3] }} {{ "abc"[::-1] }} {{ [1,2,3][-2:] }}`, "bc cba [2, 3]"},
		{`{% for i in range(3) if i != 1 %}{{ loop.index }}:{{ i }}{{ "," if not loop.last }}{% else %}none{% endfor %}`, "1:0,2:2"},
		{`{% for k, v in {"b": 1, "a": 2}.items() %}{{ k }}{{ v }}{% endfor %}`, "b1a2"},
		{`{% set n = namespace(i=0) %}{% for x in [1,2] %}{% set n.i = n.i + x %}{% endfor %}{{ n.i }}`, "3"},
		{`{% set i = 0 %}{% for x in [1,2] %}{% set i = i + x %}{% endfor %}{{ i }}`, "0"},
		{`{% for x in [1,2,3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% if x == 3 %}{% break %}{% endif %}{% endfor %}`, "13"},
		{`{% macro f(a, b="y") %}{{ a }}{{ b }}{% endmacro %}{{ f("x") }}{{ f("x", b="z") }}`, "xyxz"},
		{`{% set t %}a{{ 1 }}{% endset %}[{{ t }}]`, "[a1]"},
		{"a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"},
		{"a {%- if true -%} b {%- endif %} c", "ab c"},
		{"  {%+ if true %}x{% endif %}", "  x"},
		{"{# a comment #}\nx{% raw %}{{ y }}{% endraw %}", "x{{ y }}"},
		{`{{ {"a": [1, 2.0, "q'", none]} }}`, `{'a': [1, 2.0, "q'", None]}`},
		{`{{ {"a": [1, 2.5, "é\n", none, true]} | tojson }}`, `{"a": [1, 2.5, "é\n", null, true]}`},
		{`{{ [1, {"a": []}] | tojson(indent=2) }}`, "[\n  1,\n  {\n    \"a\": []\n  }\n]"},
		{`{{ "a,b,c".split(",") | last }} {{ " x ".strip() }} {{ "abc".startswith("ab") }} {{ "aXb".lower() }}`, "c x True axb"},
		{`{{ "x" is string }} {{ 1 is number }} {{ {} is mapping }} {{ y is defined }} {{ none is none }} {{ 4 is divisibleby 2 }}`, "True True True False True True"},
		{`{{ [3,1,2] | sort | join("-") }} {{ [1,1,2] | unique | list }} {{ "abc" | length }} {{ [] | first is undefined }}`, "1-2-3 [1, 2] 3 True"},
		{`{{ x.a | map(attribute="b") | list }} {{ x.a | selectattr("b", "equalto", 1) | list | length }} {{ y | default("d") }}`, "[1] 1 d"},
		{`{{ strftime_now("%d %b %Y %H:%M") }}`, "04 Mar 2026 05:06"},
		{`{{ "a\tb\u00e9\x41" }}`, "a\tbéA"},
		{`{% generation %}x{% endgeneration %}`, "x"},
		{`{{ "<{}|{}|{n}|{{}}>".format("a", 2, n=none) }}`, "<a|2|None|{}>"},
		{`{{ [3, 1, 2] | min }} {{ ["b", "a"] | max }} {{ [] | min is undefined }}`, "1 b True"},
		{`{{ "é😀" | tojson(ensure_ascii=True) }}`, `"\u00e9\ud83d\ude00"`},
		{`[{{ y | trim }}] {{ "abc".type is defined }} {{ none | selectattr("a") | list }} {{ none | map("upper") | list }}`, "[] False [] []"},
		{`{% macro f(a, b=a) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, z=4) }}`, "12(3,){'z': 4}"},
		{`{% macro f(a) %}[{{ caller(a) }}]{% endmacro %}{% call(x) f(3) %}<{{ x }}>{% endcall %}`, "[<3>]"},
		{`{% macro f(n) %}{{ n }}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}`, "3210"},
		{`{% for i in [{"t": "a", "c": [{"t": "b", "c": []}]}] recursive %}{{ loop.depth }}{{ i.t }}({{ loop(i.c) }}){% endfor %}`, "1a(2b())"},
		{`{% for i in "ab" %}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle(1, 2) }}{{ loop.changed(1) }}{{ loop.revindex0 }} {% endfor %}`, "b1True1 a2False0 "},
		{`{% filter upper | replace("A", "x") %}a{{ 1 }}b{% endfilter %}{% set z | trim %} q {% endset %}{{ z }}`, "x1Bq"},
		{`{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}`, "3False"},
		{`{% set a, (b, c) = 1, (2, 3) %}{{ a }}{{ b }}{{ c }} {{ (1,) }} {{ range(9)[::-4] }}`, "123 (1,) range(8, -1, -4)"},
		{`{% set g = [1, 2] | map("string") %}{{ g is sequence }}{{ g | join }}{{ g | join }}|{{ "y" if ([] | map("int")) }}`, "False12|y"},
		{`{{ -7 // 2 }} {{ -7.5 % 2 }} {{ 10 ** 20 }} {{ 1e16 }} {{ 0.1 + 0.2 }} {{ -5 | abs }} {{ 0x1f }}`, "-4 0.5 100000000000000000000 1e+16 0.30000000000000004 5 31"},
		{`{{ "%s has %05.1f" % ("a", 2) }} {{ "{:>4}{x!r}".format(1, x="y") }} {{ "%s" | format(3) }}`, "a has 002.0    1'y' 3"},
		{`{{ " a b  c ".split(none, 1) }} {{ "a-b-c".rsplit("-", 1) }} {{ "xyx".strip("x") }} {{ "ab".startswith(("x", "a")) }}`, "['a', 'b  c '] ['a-b', 'c'] y True"},
		{`{{ "<" | e }}{{ "<" | safe + "<" }} {{ {"a": 1} | tojson(separators=(",", ":")) }} {{ "é" | tojson(ensure_ascii=true) }}`, `&lt;<&lt; {"a":1} "\u00e9"`},
		{`{{ {"b": 1, "A": 2} | dictsort }} {{ ["b", "A"] | sort }} {{ [3, 1] | max }} {{ [{"k": 1}, {"k": 1}] | groupby("k") | length }}`, "[('A', 2), ('b', 1)] ['A', 'b'] 3 1"},
		{`{{ [1, 2, 3] | batch(2) | list }} {{ "a\n\nb" | indent(2) }} {{ y | trim }}|{{ "x".y is defined }} {{ none.z is defined }}`, "[[1, 2], [3]] a\n\n  b |False False"},
		{"a\u00a0{%- if 1 %}b{% endif -%}\u2003c", "abc"},
	}
	for _, tt := range tests {
		got, err := render(tt.src, `{"x": {"a": [{"b": 1}]}}`)
		if err != nil || got != tt.want {
			t.Errorf("%s\ngot  %q, %v\nwant %q", tt.src, got, err, tt.want)
		}
	}
}

// What is not known, or goes wrong, is an error with its line.
func TestErrors(t *testing.T) {
	tests := map[string]struct {
		src  string
		line int
		says string
	}{
		"filter":        {"a\n{{ 1 | foo }}", 2, `unknown filter "foo"`},
		"test":          {"{{ 1 is foo }}", 1, `unknown test "foo"`},
		"block":         {"\n\n{% include 'x' %}", 3, `unknown block "include"`},
		"method":        {"{{ 'a'.foo() }}", 1, `'str' object has no attribute 'foo'`},
		"no end":        {"{% if x %}", 1, "if without its end"},
		"wrong end":     {"{% if x %}\n{% endfor %}", 2, `unexpected "endfor"`},
		"tag":           {"x {{ 1", 1, "without its end"},
		"string":        {"{{ 'a }}", 1, "string without its end"},
		"character":     {"{{ 1 ? 2 }}", 1, "unexpected '?'"},
		"undefined":     {"{{ a.b.c }}", 1, `'a' is undefined`},
		"undefined sum": {"{{ 'x' + y }}", 1, `'y' is undefined`},
		"types":         {"{{ 'x' + 1 }}", 1, "unsupported operand type(s) for +: 'str' and 'int'"},
		"zero":          {"{{ 1 // 0 }}", 1, "division by zero"},
		"append":        {"{% set x = [] %}{{ x.append(1) }}", 1, "'append' of 'list' object is unsafe"},
		"endless":       {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", 1, "more than 4194304 steps"},
		"bomb":          {"{% set x = 'aaaaaaaa' %}{% for i in range(40) %}{% set x = x ~ x %}{{ x }}{% endfor %}" + "{% set n = namespace(s='aaaaaaaa') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}", 1, "bytes"},
		"repeat":        {"{{ 'a' * 999999999999 }}", 1, "bytes"},
		"range":         {"{{ range(10 ** 12) }}", 1, "Range too big"},
		"list":          {"{{ [1, 2] * 10 ** 9 }}", 1, "more than 4194304 steps"},
		"join":          {"{{ range(90000) | join('a' * 1000) }}", 1, "bytes"},
		"replace":       {"{{ ('a' * 10000) | replace('a', 'b' * 10000) }}", 1, "bytes"},
		"pad":           {"{{ 'a'.center(10 ** 12) }}", 1, "bytes"},
		"width":         {"{{ '%999999999d' % 1 }}", 1, "bytes"},
		"format width":  {"{{ '{:>999999999}'.format(1) }}", 1, "bytes"},
		"power":         {"{{ 9 ** 9 ** 9 ** 9 ** 9 ** 9 }}", 1, "bits"},
		"garden":        {"{% set n = namespace(x=[]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}", 1, "bytes"},
		"equal gardens": {"{% set n = namespace(x=[], y=[]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}", 1, "steps"},
		"stop outside":  {"{% if 1 %}{% break %}{% endif %}", 1, "break outside of a loop"},
		"generator":     {"{{ [1] | map('int') | tojson }}", 1, "generator is not JSON serializable"},
		"argument":      {"{% macro f() %}{% endmacro %}\n{{ f(x=1) }}", 2, "takes no keyword argument 'x'"},
		"recursion":     {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", 1, "nested more than 200 deep"},
		"parentheses":   {"{{ " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + " }}", 1, "nested"},
		"nots":          {"{{ " + strings.Repeat("not ", 5000) + "1 }}", 1, "nested"},
		"minuses":       {"{{ " + strings.Repeat("-", 5000) + "1 }}", 1, "nested"},
		"blocks":        {strings.Repeat("{% if 1 %}", 5000), 1, "nested"},
		"elifs":         {"{% if 0 %}" + strings.Repeat("{% elif 0 %}", 5000) + "{% endif %}", 1, "nested"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := render(tt.src, "")
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Line != tt.line || !strings.Contains(e.Message, tt.says) {
				t.Errorf("got %v, want line %d: … %s", err, tt.line, tt.says)
			}
		})
	}
	_, err := render("{{ raise_exception('no ' ~ x) }}", `{"x": 1}`)
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Message != "no 1" {
		t.Errorf("raise_exception: %v", err)
	}
	for _, vars := range []string{"[1]", "{", `{"a":1} 2`, strings.Repeat("[", 10000)} {
		if _, err := render("x", vars); err == nil {
			t.Errorf("variables %.20s: no error", vars)
		}
	}
}

// Whatever a template does for ever, a budget ends it.
func TestBudgetsEnd(t *testing.T) {
	for _, src := range []string{
		"{% for a in range(99999) %}{% for b in range(99999) %}{{ a == b }}{% endfor %}{% endfor %}",
		"{% for a in range(99999) %}{% set b = 'a' * 9999999 %}{{ b | upper | length }}{% endfor %}",
		"{% for a in range(99999) %}{% set b = 'é' * 999999 %}{{ b[::-1] | title | length }}{% endfor %}",
		"{% for a in range(99999) %}{% set b = range(99999) | sort | tojson %}{% endfor %}",
		"{% set s = 'a' * 9999999 %}{% for a in range(99999) %}{% for b in range(99) %}{{ s | length }}{{ 'b' in s }}{% endfor %}{% endfor %}",
	} {
		if _, err := render(src, ""); err == nil {
			t.Errorf("%s: it came to an end", src)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("{% raw %}a{% endraw %}{#- x -#}{% for a, (b, c) in x if b recursive %}{% else %}{% endfor %}{{ 1.5e3 is not in [a] }}")
	f.Fuzz(func(t *testing.T, src string) {
		if _, err := Parse(src); err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("an error of another kind: %v", err)
			}
		}
	})
}

func FuzzRender(f *testing.F) {
	g := golden(f)
	for _, name := range []string{"chatml", "gemma", "llama-3", "mistral-instruct", "phi3", "zephyr"} {
		b, err := os.ReadFile("testdata/" + name + ".jinja")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add("{% for a, b in x.items() %}{{ a[::-1] | tojson(indent=1) }}{% else %}{{ 1 if a is not none }}{% endfor %}")
	f.Fuzz(func(t *testing.T, src string) {
		tmpl, err := Parse(src)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		_, _ = tmpl.Render(Input{Messages: g.Conversations[7].Messages, Tools: g.Conversations[7].Tools, BOS: "<s>"})
	})
}
