package keeper

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/cupwriter"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"rbee/core/api"
)

// A board shows how far several pulls are. Its methods may be called at once.
type board interface {
	show(n int, name string, s api.PullStage) // the n-th one has come to a stage
	say(text string)                          // something else, for people
	close()                                   // nothing is shown any more; what was shown stays
}

// Bars is the board on a terminal: one line for each pull, drawn over and over.
type bars struct {
	all     *mpb.Progress
	bar     []*mpb.Bar
	console *cupwriter.Writer

	mu    sync.Mutex // guards what follows
	look  look
	lines []barLine
}

type barLine struct {
	name  string
	stage api.PullStage
}

var _ board = (*bars)(nil)

func newBars(out *os.File, colours bool, names []string) *bars {
	console := cupwriter.New(fromStart{out}, false)
	console.SetTermFd(int(out.Fd()))
	b := &bars{all: mpb.New(mpb.WithConsoleWriter(console)), console: console, look: look{colours: colours}}
	for n, name := range names {
		b.lines = append(b.lines, barLine{name, api.PullStage{Stage: api.StageResolving}})
		b.look.names = max(b.look.names, runewidth.StringWidth(name))
		draw := func(w io.Writer, at decor.Statistics) error { return b.draw(w, n, at.AvailableWidth) }
		bar, _ := b.all.Add(0, mpb.BarFillerFunc(draw), mpb.BarFillerTrim()) // fails after Wait only
		b.bar = append(b.bar, bar)
	}
	return b
}

// fromStart draws from the first column on, whatever a person has typed meanwhile.
type fromStart struct{ *os.File }

func (f fromStart) Write(p []byte) (int, error) {
	n, err := f.File.Write(append([]byte("\r"), p...))
	return max(n-1, 0), err
}

// draw leaves the last column free: some terminals begin a new line behind it.
func (b *bars) draw(w io.Writer, n, columns int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := io.WriteString(w, b.look.line(b.lines[n].name, b.lines[n].stage, columns-1))
	return err
}

func (b *bars) show(n int, name string, s api.PullStage) {
	b.mu.Lock()
	b.lines[n] = barLine{name, s}
	b.look.names = max(b.look.names, runewidth.StringWidth(name))
	b.mu.Unlock()
	if s.Final() {
		b.bar[n].SetTotal(-1, true)
	}
}

func (b *bars) say(text string) {
	columns, _, err := b.console.GetTermSize()
	if err != nil || columns <= 0 {
		columns = usual
	}
	_, _ = fmt.Fprintln(b.all, wrap("rbee: "+text, columns-1))
}

// usual is how many columns a terminal has that does not say.
const usual = 80

// wrap breaks a text between words.
func wrap(text string, columns int) string {
	var b strings.Builder
	at := 0
	for i, word := range strings.Fields(text) {
		wide := runewidth.StringWidth(word)
		switch {
		case i > 0 && at+1+wide > columns:
			b.WriteString("\n  ")
			at = 2
		case i > 0:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += wide
	}
	return b.String()
}

// close lets those that were not ended stand as they are.
func (b *bars) close() {
	for _, bar := range b.bar {
		bar.Abort(false)
	}
	b.all.Wait()
}

// Lines is the board where nothing can be drawn over: a line for each stage, and for
// each tenth of the bytes.
type lines struct {
	mu   sync.Mutex // guards what follows
	out  io.Writer
	last []steps
}

var _ board = (*lines)(nil)

func newLines(out io.Writer, n int) *lines { return &lines{out: out, last: make([]steps, n)} }

func (l *lines) show(n int, name string, s api.PullStage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last[n].due(s) {
		_, _ = fmt.Fprintf(l.out, "rbee: %s: %s\n", name, plain(s))
	}
}

func (l *lines) say(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintln(l.out, "rbee:", text)
}

func (l *lines) close() {}

// Steps remembers what was said of a pull in lines.
type steps struct {
	stage string
	tenth int64
	known bool // the size
}

// due tells whether a stage is worth another line.
func (p *steps) due(s api.PullStage) bool {
	now := steps{s.Stage, percent(s) / 10, s.Total > 0}
	if now == *p {
		return false
	}
	*p = now
	return true
}

// plain is a stage in words. Why one has failed is said at the end.
func plain(s api.PullStage) string {
	text := doing(s)
	switch {
	case s.Stage == api.StageComplete:
		return whole(s)
	case s.Stage == api.StageWaiting || s.Stage == api.StageFailed || s.Total <= 0:
		return text
	}
	if s.From != "" {
		text += " from " + s.From
	}
	text += fmt.Sprintf(", %d%%, %s of %s", percent(s), size(s.Done), size(s.Total))
	if r := rate(s); r != "" {
		text += ", " + r
	}
	if t := left(s); t != "" {
		text += ", " + t + " left"
	}
	return text
}
