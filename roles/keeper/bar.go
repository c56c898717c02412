package keeper

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"rbee/core"
	"rbee/core/api"
)

// A look is how lines of progress are drawn.
type look struct {
	colours bool
	names   int // columns of the longest name of the lines that stand together
}

// The parts of a line that has room for them, with their columns.
const (
	leastLine   = 24 // with less it is no terminal that says its size
	leastBar    = 8
	leastName   = 16
	percentWide = len(" 100%")
	etaWide     = len("  59m59s")
	rateWide    = len("  999 MB/s")
	bytesWide   = len("  999 MB of 999 MB")
)

// line is one stage of a pull in at most so many columns: name, bar, percent, bytes,
// rate and time left. Where there is no room for all, the bytes go first, then the rate.
func (l look) line(name string, s api.PullStage, columns int) string {
	if columns < leastLine {
		columns = usual
	}
	most := max(columns/3, min(leastName, columns-1-leastBar-percentWide-etaWide))
	wide := min(max(l.names, runewidth.StringWidth(name)), most)
	switch {
	case s.Stage == api.StageComplete:
		return l.words(name, wide, "✓ "+whole(s), green, columns)
	case s.Stage == api.StageFailed:
		return l.words(name, wide, "✗ "+s.Error, red, columns)
	case s.Total <= 0 || s.Stage == api.StageWaiting:
		return l.words(name, wide, doing(s), 0, columns)
	}
	name = runewidth.FillRight(shorten(name, wide), wide)
	room := columns - wide - 1 - leastBar - percentWide - etaWide
	figures := fmt.Sprintf("%*s", percentWide, fmt.Sprintf("%d%%", percent(s)))
	if room >= rateWide+bytesWide {
		figures += fmt.Sprintf(" %*s", bytesWide-1, fmt.Sprintf("%s of %s", size(s.Done), size(s.Total)))
	}
	if room >= rateWide {
		figures += fmt.Sprintf(" %*s", rateWide-1, rate(s))
	}
	figures += fmt.Sprintf(" %*s", etaWide-1, cmp.Or(left(s), word(s)))
	return name + " " + l.bar(s, columns-wide-1-len(figures)) + figures
}

// words is a line without a bar, whose first character may have a colour. The name
// gives way to the words, to two fifths of the line.
func (l look) words(name string, wide int, text string, colour, columns int) string {
	wide = min(wide, max(columns-2-runewidth.StringWidth(text), columns*2/5))
	text = runewidth.Truncate(text, columns-2-wide, "…")
	_, first := utf8.DecodeRuneInString(text)
	return runewidth.FillRight(shorten(name, wide), wide) + "  " + l.colour(colour, text[:first]) + text[first:]
}

// bar is the bar alone.
func (l look) bar(s api.PullStage, columns int) string {
	var b bytes.Buffer
	style := mpb.BarStyle().Lbound("").Rbound("").Filler("█").Tip("█").Padding("░").
		FillerMeta(func(t string) string { return l.colour(cyan, t) }).TipMeta(func(t string) string { return l.colour(cyan, t) })
	_ = style.Build().Fill(&b, decor.Statistics{AvailableWidth: columns, Total: s.Total, Current: s.Done}) // a buffer takes all
	return b.String()
}

// The colours.
const (
	red   = 31
	green = 32
	cyan  = 36
)

func (l look) colour(c int, text string) string {
	if !l.colours || text == "" || c == 0 {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, text)
}

// shorten cuts the middle out of a name: its end is the quantization, or the node.
func shorten(name string, columns int) string {
	most := runewidth.StringWidth(name)
	if most <= columns {
		return name
	}
	head := (columns - 1) / 3
	return runewidth.Truncate(name, head, "") + "…" + runewidth.TruncateLeft(name, most-(columns-1-head), "")
}

func percent(s api.PullStage) int64 { return 100 * s.Done / max(s.Total, 1) }

func rate(s api.PullStage) string {
	if s.BytesPerSecond <= 0 {
		return ""
	}
	return size(s.BytesPerSecond) + "/s"
}

// left is the time that is left, if anybody knows.
func left(s api.PullStage) string {
	if s.ETAMS <= 0 {
		return ""
	}
	d := time.Duration(min(s.ETAMS, int64(1e12))) * time.Millisecond
	switch {
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	if days := d / (24 * time.Hour); days < 100 {
		return fmt.Sprintf("%d days", days)
	}
	return "" // it stands
}

// word is the stage in the place of the time that is left.
func word(s api.PullStage) string {
	if s.Stage == api.StageVerifying {
		return "verify"
	}
	return ""
}

// doing is what a stage without figures does.
func doing(s api.PullStage) string {
	text := s.Stage
	if s.Stage != api.StageWaiting {
		return text
	}
	if s.Node != "" {
		text += " for " + string(s.Node)
	}
	if s.Total > 0 {
		text += fmt.Sprintf(", %d%%", percent(s))
	}
	return text
}

// whole says that a model is there.
func whole(s api.PullStage) string {
	if s.Total <= 0 {
		return "complete"
	}
	return "complete, " + size(s.Total)
}

// nameOf is a model as a person calls it: without the place that it comes from.
func nameOf(model core.ModelRef) string {
	if file, ok := model.Path(); ok {
		return path.Base(file)
	}
	text, _ := strings.CutPrefix(string(model), "hf:")
	if _, repo, ok := strings.Cut(text, "/"); ok && repo != "" {
		return repo
	}
	return text
}
