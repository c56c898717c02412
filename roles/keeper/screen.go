package keeper

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/config"
)

// A screen shows an answer: its text on stdout, everything else on stderr. With
// --json every event is a line on stdout.
type screen struct {
	out, err io.Writer
	json     bool
	verbose  bool
	terminal bool // stdout is one
	status   bool // stderr is one: progress may be written over
	colours  bool
	began    time.Time
	model    string // what a download in the answer's stream is of
	steps    steps  // what was said of it where nothing can be written over

	failed  *api.Failure
	midLine bool // the last thing on stdout was no newline
	over    bool // the last thing on stderr is to be written over
}

func newScreen(c *cli.Context, t config.Terminal) *screen {
	return &screen{
		out: c.App.Writer, err: c.App.ErrWriter, json: c.Bool("json"), verbose: c.Bool("verbose"), began: time.Now(),
		terminal: isTerminal(c.App.Writer), status: t.Cursor && isTerminal(c.App.ErrWriter), colours: t.Colours,
	}
}

// show shows an event. It fails when nobody reads stdout.
func (s *screen) show(ev api.Event) error {
	if s.json {
		return s.line(ev)
	}
	switch ev := ev.(type) {
	case *api.Token:
		s.clear()
		s.midLine = !strings.HasSuffix(ev.Text, "\n")
		return s.write(ev.Text)
	case *api.Narration:
		s.narration(ev)
	case *api.Comment:
		s.comment(ev.Text)
	case *api.Metrics:
		if s.verbose {
			s.endLine()
			s.say(fmt.Sprintf("%d tokens read at %.0f/s, written at %.1f/s; queued %d ms, loaded in %d ms, %d MB",
				ev.PrefillTokens, ev.PrefillTPS, ev.DecodeTPS, ev.QueueMS, ev.LoadMS, ev.MemoryBytes/1e6))
		}
	case *api.End:
		s.endLine()
		s.ended(ev)
	case *api.Failure:
		s.endLine()
		s.failed = ev
	}
	return nil
}

// line writes an event as JSON; comments are no events.
func (s *screen) line(ev api.Event) error {
	switch ev := ev.(type) {
	case *api.Failure:
		s.failed = ev
	case *api.End:
		s.ended(ev)
	}
	_, comment := ev.(*api.Comment)
	_, failure := ev.(*api.Failure)
	if comment || failure && s.unknownKey() { // which may not be the last word
		return nil
	}
	b, err := api.EncodeEvent(ev)
	if err != nil {
		return err
	}
	return s.write(string(b) + "\n")
}

// unknownKey tells whether it was a host key that ended the answer.
func (s *screen) unknownKey() bool { return s.failed != nil && s.failed.Code == core.HostKeyUnknown }

// keyLine writes the failure that line has kept back, when it is the last word.
func (s *screen) keyLine() error {
	if !s.json || !s.unknownKey() {
		return nil
	}
	b, err := api.EncodeEvent(s.failed)
	if err != nil {
		return err
	}
	return s.write(string(b) + "\n")
}

// ended notes an answer that somebody cancelled: it is not whole.
func (s *screen) ended(end *api.End) {
	if end.StopReason == api.StopCancelled {
		s.failed = api.Fail(&core.Fault{Kind: core.InferenceFailed, What: "the answer was cancelled"}, end.TokensOut)
	}
}

func (s *screen) write(text string) error {
	if _, err := io.WriteString(s.out, text); err != nil {
		return fmt.Errorf("%w: %w", errReaderGone, err)
	}
	return nil
}

// failure is the error that ended the answer, if one did.
func (s *screen) failure() error {
	if s.failed == nil {
		return nil
	}
	return s.failed.Err()
}

// verdict says what an end has left behind, beside another error.
func (s *screen) verdict(err error) {
	f := core.FaultOf(err)
	s.note(f.What)
	for _, fact := range f.Facts {
		s.note("  " + fact.Name + ": " + fact.Value)
	}
	if f.Try != "" {
		s.note("  Try: " + f.Try)
	}
}

// endLine ends the answer's line where a person reads it.
func (s *screen) endLine() {
	s.clear()
	if s.midLine && s.terminal {
		_ = s.write("\n")
	}
	s.midLine = false
}

// narrate says what the keeper does.
func (s *screen) narrate(action api.Action, human string) {
	ev := &api.Narration{Actor: "keeper", Action: action, Human: human}
	if s.json {
		_ = s.line(ev) // who does not read stdout misses it
	}
	s.narration(ev)
}

// note says something that matters to whoever looks.
func (s *screen) note(human string) { s.narrate(api.Note, human) }

// narration shows what is worth a line; the phases of an answer only when asked.
func (s *screen) narration(n *api.Narration) {
	quiet := n.Action == api.Prefill || n.Action == api.Decode || n.Action == api.QueenStart || n.Action == api.Load
	if quiet && !s.verbose || s.json && n.Actor != "keeper" {
		return
	}
	s.endLine()
	s.say(n.Human)
}

func (s *screen) say(text string) {
	s.clear()
	if s.verbose {
		text = fmt.Sprintf("%6.2f s  %s", time.Since(s.began).Seconds(), text)
	}
	_, _ = fmt.Fprintln(s.err, "rbee:", text)
}

// comment shows a sign of life; a download as the bar that model pull draws.
func (s *screen) comment(text string) {
	if stage, ok := api.ParseComment(text); ok {
		s.moving(s.model, stage)
		return
	}
	s.progress(text)
}

// moving shows how far something is: as a bar, or in lines.
func (s *screen) moving(name string, stage api.PullStage) {
	if !s.status {
		if s.steps.due(stage) {
			s.say(name + ": " + plain(stage))
		}
		return
	}
	columns := usual
	if f, ok := s.err.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			columns = n
		}
	}
	s.progress(look{colours: s.colours}.line(name, stage, columns-1))
}

// progress writes over the line before it, on a terminal only.
func (s *screen) progress(text string) {
	if !s.status || s.midLine {
		return
	}
	s.clear()
	s.over = true
	_, _ = io.WriteString(s.err, text)
}

func (s *screen) clear() {
	if s.over {
		_, _ = io.WriteString(s.err, "\r\x1b[K")
		s.over = false
	}
}
