package keeper

import (
	"regexp"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"rbee/core"
	"rbee/core/api"
)

func TestLine(t *testing.T) {
	down := api.PullStage{Stage: api.StageDownloading, Done: 301_000_000, Total: 669_000_000, BytesPerSecond: 12_300_000, ETAMS: 29_900}
	tests := map[string]struct {
		name    string
		stage   api.PullStage
		columns int
		want    string
	}{
		"wide":              {"tinyllama", down, 99, "tinyllama ██████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░  44%  301 MB of 669 MB   12 MB/s     30s"},
		"middle":            {"tinyllama", down, 59, "tinyllama ████░░░░  44%  301 MB of 669 MB   12 MB/s     30s"},
		"narrow":            {"tinyllama", down, 39, "tinyllama ███████░░░░░░░░░  44%     30s"},
		"tiny":              {"tinyllama", down, 24, ""},
		"long name":         {"TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M on box", down, 39, "TinyL…K_M on box ████░░░░░  44%     30s"},
		"verifying":         {"tinyllama", api.PullStage{Stage: api.StageVerifying, Done: 301_000_000, Total: 669_000_000}, 39, ""},
		"resolving":         {"tinyllama", api.PullStage{Stage: api.StageResolving}, 39, "tinyllama  resolving"},
		"waiting":           {"tinyllama on box", api.PullStage{Stage: api.StageWaiting, Node: "mac", Done: 1, Total: 2}, 39, "tinyllama on box  waiting for mac, 50%"},
		"slow":              {"tinyllama", api.PullStage{Stage: api.StageCopying, Done: 1e9, Total: 1e12, BytesPerSecond: 1e7, ETAMS: 1e8}, 59, ""},
		"hours":             {"tinyllama", api.PullStage{Stage: api.StageCopying, Done: 1e9, Total: 1e12, BytesPerSecond: 1e5, ETAMS: 1e10}, 39, ""},
		"waiting, why ever": {"tinyllama", api.PullStage{Stage: api.StageWaiting, Done: 1, Total: 2}, 39, "tinyllama  waiting, 50%"},
		"complete":          {"tinyllama", api.PullStage{Stage: api.StageComplete, Total: 669_000_000}, 39, "tinyllama  ✓ complete, 669 MB"},
		"failed":            {"tinyllama", api.PullStage{Stage: api.StageFailed, Error: "model tinyllama is nowhere to be found"}, 39, "tinyllama  ✗ model tinyllama is nowher…"},
		"wide glyphs":       {"模型模型模型模型模型", down, 39, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := look{}.line(tt.name, tt.stage, tt.columns)
			t.Logf("%2d %q", runewidth.StringWidth(got), got)
			if n := runewidth.StringWidth(got); n > tt.columns {
				t.Errorf("%d columns, want at most %d: %q", n, tt.columns, got)
			}
			if tt.want != "" && got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			colours := regexp.MustCompile("\x1b\\[[0-9]+m")
			if in := (look{colours: true}).line(tt.name, tt.stage, tt.columns); colours.ReplaceAllString(in, "") != got {
				t.Errorf("in colours another line: %q, want %q", in, got)
			}
		})
	}
}

// A line fits at whatever width, and is drawn at those that cannot be.
func TestLineFits(t *testing.T) {
	stages := []api.PullStage{
		{Stage: api.StageDownloading, Done: 1 << 40, Total: 1 << 42, BytesPerSecond: 1 << 33, ETAMS: 1e9},
		{Stage: api.StageComplete, Total: 1 << 50},
		{Stage: api.StageWaiting, Node: "a-node-with-a-long-name", Done: 1, Total: 3},
		{Stage: api.StageFailed, Error: "no"},
		{},
	}
	for columns := -3; columns < 200; columns++ {
		most := columns
		if columns < 24 {
			most = 80
		}
		for _, s := range stages {
			for _, name := range []string{"", "x", "a name that is longer than most names are"} {
				if got := (look{}).line(name, s, columns); runewidth.StringWidth(got) > most {
					t.Errorf("%d columns: %q has %d", columns, got, runewidth.StringWidth(got))
				}
			}
		}
	}
}

func TestWrap(t *testing.T) {
	tests := map[string]struct {
		text    string
		columns int
		want    string
	}{
		"short": {"a b", 10, "a b"}, "two lines": {"one two three", 8, "one two\n  three"}, "a long word": {"a bcdefghijkl m", 5, "a\n  bcdefghijkl\n  m"}, "nothing": {"", 5, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := wrap(tt.text, tt.columns); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAgo(t *testing.T) {
	tests := map[time.Duration]string{
		5 * time.Second: "5 seconds ago", 5 * time.Minute: "5 minutes ago", 5 * time.Hour: "5 hours ago", 73 * time.Hour: "3 days ago",
	}
	for d, want := range tests {
		if got := ago(time.Now().Add(-d)); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	if got := ago(time.Time{}); got != "never" {
		t.Errorf("never: %q", got)
	}
}

func TestNameOf(t *testing.T) {
	tests := map[core.ModelRef]string{
		"tinyllama": "tinyllama", "hf:org/repo:Q4_K_M": "repo:Q4_K_M", "org/repo": "repo", "file:/a/b c.gguf": "b c.gguf", core.Embedded: "embedded",
		"hf:org/repo@main:dir/x.gguf": "repo@main:dir/x.gguf",
	}
	for ref, want := range tests {
		if got := nameOf(ref); got != want {
			t.Errorf("%s: got %q, want %q", ref, got, want)
		}
	}
}
