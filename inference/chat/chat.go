// Package chat renders chat templates: the Jinja that the templates in model
// files use, with the settings of transformers (trim_blocks, lstrip_blocks, loop
// controls, values that cannot be changed) and to the byte what it gives.
//
// A template is code from a file. It runs here without any access to the outside,
// within a budget of steps and of bytes, and what this interpreter does not know
// is an error with its line, never left out.
package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// An Error is what is wrong with a template or its input.
type Error struct {
	Line    int // of the template
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("chat template, line %d: %s", e.Line, e.Message) }

// A Refusal is what the template itself said by raise_exception.
type Refusal struct{ Message string }

func (r *Refusal) Error() string { return "the chat template refuses the conversation: " + r.Message }

// The budgets of one rendering.
const (
	maxSource = 1 << 20
	maxSteps  = 4 << 20
	maxBytes  = 16 << 20  // of the output, and of any one text on the way
	maxMade   = 256 << 20 // of all texts made on the way
	maxDepth  = 200       // of nested expressions, blocks, macros and values
	maxBits   = 14000     // of an integer: what Python still writes in decimal
)

// A Template is parsed and may be rendered by many at once.
type Template struct {
	body []node
}

// Parse reads a template. Its error is an *Error.
func Parse(source string) (t *Template, err error) {
	if len(source) > maxSource {
		return nil, &Error{1, fmt.Sprintf("has %d bytes, at most %d", len(source), maxSource)}
	}
	defer catch(&err)
	p := &parser{tokens: lex(source)}
	return &Template{p.template()}, nil
}

// Input is what a template is rendered with. Messages, Tools and Kwargs are JSON;
// the order of keys is kept. Kwargs are further variables by name.
type Input struct {
	Messages            []json.RawMessage
	Tools               json.RawMessage // an array; empty or null: none
	AddGenerationPrompt bool
	BOS, EOS            string
	Kwargs              json.RawMessage // an object; empty or null: none
	Now                 time.Time       // for strftime_now
}

// Render returns the prompt. Its errors are *Error, *Refusal, or about JSON.
func (t *Template) Render(in Input) (text string, err error) {
	vars, err := in.variables()
	if err != nil {
		return "", err
	}
	defer catch(&err)
	e := &env{scope: &scope{vars: vars}, now: in.Now, out: new(strings.Builder), line: 1}
	e.run(t.body)
	return e.out.String(), nil
}

// variables makes the template's variables of the input.
func (in Input) variables() (map[string]value, error) {
	messages := &list{}
	for i, m := range in.Messages {
		v, err := fromJSON(m)
		if err != nil {
			return nil, fmt.Errorf("chat: message %d: %w", i, err)
		}
		messages.items = append(messages.items, v)
	}
	vars := map[string]value{
		"messages": messages, "bos_token": in.BOS, "eos_token": in.EOS,
		"add_generation_prompt": in.AddGenerationPrompt, "tools": nil, "documents": nil,
	}
	if len(in.Tools) > 0 {
		v, err := fromJSON(in.Tools)
		if err != nil {
			return nil, fmt.Errorf("chat: tools: %w", err)
		}
		vars["tools"] = v
	}
	if len(in.Kwargs) > 0 {
		v, err := fromJSON(in.Kwargs)
		if err != nil {
			return nil, fmt.Errorf("chat: template variables: %w", err)
		}
		d, ok := v.(*dict)
		if !ok && v != nil {
			return nil, errors.New("chat: template variables: want an object")
		}
		if d != nil {
			for i, k := range d.keys {
				vars[k.(string)] = d.values[i] // keys of JSON are texts
			}
		}
	}
	return vars, nil
}

// catch turns the panic of fail into an error. Inside this package errors travel
// as panics of *Error and *Refusal, as in encoding/json: every expression can fail.
func catch(err *error) {
	switch p := recover().(type) {
	case nil:
	case *Error:
		*err = p
	case *Refusal:
		*err = p
	default:
		panic(p)
	}
}

func fail(line int, format string, args ...any) {
	panic(&Error{line, fmt.Sprintf(format, args...)})
}

// An env is one rendering.
type env struct {
	scope *scope
	out   *strings.Builder
	line  int // of the template, where the rendering is
	steps int
	made  int // bytes of texts
	depth int
	now   time.Time
}

// A scope holds variables; what it does not have is looked up in its parent.
type scope struct {
	vars   map[string]value
	parent *scope
}

func (s *scope) get(name string) (value, bool) {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

// within runs f in a new scope whose parent is given.
func (e *env) within(parent *scope, vars map[string]value, f func()) {
	outer := e.scope
	e.scope = &scope{vars: vars, parent: parent}
	f()
	e.scope = outer
}

// inner runs f in a scope of its own.
func (e *env) inner(vars map[string]value, f func()) { e.within(e.scope, vars, f) }

func (e *env) fail(format string, args ...any) { fail(e.line, format, args...) }

// step counts n steps, and fails when the budget is used up.
func (e *env) step(n int) {
	if e.steps += n; e.steps > maxSteps {
		e.fail("the template takes more than %d steps", maxSteps)
	}
}

// deeper runs f one level down.
func (e *env) deeper(f func()) {
	if e.depth++; e.depth > maxDepth {
		e.fail("nested more than %d deep", maxDepth)
	}
	f()
	e.depth--
}

// room fails when a text of n bytes would be too large, and charges for it.
func (e *env) room(n int) {
	if n < 0 || n > maxBytes {
		e.fail("makes a text of more than %d bytes", maxBytes)
	}
	if e.made += n; e.made > maxMade {
		e.fail("makes texts of more than %d bytes in all", maxMade)
	}
	e.step(n / 64)
}

// scan charges for what is about to read values: texts by their bytes, large
// integers by their bits.
func (e *env) scan(values ...value) {
	for _, v := range values {
		if s, ok := asText(v); ok {
			e.step(len(s) / 32)
		} else if b, ok := v.(*big.Int); ok {
			e.step(b.BitLen() / 16)
		}
	}
}

// sized checks a text that was made, and charges for it.
func (e *env) sized(s string) string {
	e.room(len(s))
	return s
}

func (e *env) write(s string) {
	if e.out.Len()+len(s) > maxBytes {
		e.fail("makes more than %d bytes", maxBytes)
	}
	e.step(1 + len(s)/64)
	e.out.WriteString(s)
}
