package keeper

import (
	"regexp"
	"testing"

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
		"wide":        {"tinyllama", down, 99, "tinyllama ██████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░  44%  301 MB of 669 MB   12 MB/s     30s"},
		"middle":      {"tinyllama", down, 59, "tinyllama ████░░░░  44%  301 MB of 669 MB   12 MB/s     30s"},
		"narrow":      {"tinyllama", down, 39, "tinyllama ███████░░░░░░░░░  44%     30s"},
		"tiny":        {"tinyllama", down, 20, ""},
		"long name":   {"TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M on box", down, 39, "TinyL…K_M on box ████░░░░░  44%     30s"},
		"verifying":   {"tinyllama", api.PullStage{Stage: api.StageVerifying, Done: 301_000_000, Total: 669_000_000}, 39, ""},
		"resolving":   {"tinyllama", api.PullStage{Stage: api.StageResolving}, 39, "tinyllama  resolving"},
		"waiting":     {"tinyllama on box", api.PullStage{Stage: api.StageWaiting, Node: "mac", Done: 1, Total: 2}, 39, "tinyllama on box  waiting for mac, 50%"},
		"complete":    {"tinyllama", api.PullStage{Stage: api.StageComplete, Total: 669_000_000}, 39, "tinyllama  ✓ complete, 669 MB"},
		"failed":      {"tinyllama", api.PullStage{Stage: api.StageFailed, Error: "model tinyllama is nowhere to be found"}, 39, "tinyllama  ✗ model tinyllama is nowher…"},
		"wide glyphs": {"模型模型模型模型模型", down, 39, ""},
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
