package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/machine"
	"rbee/inference"
)

func perplexityCommand() *cli.Command {
	return &cli.Command{
		Name: "perplexity", Usage: "how well the model foretells a text",
		Flags: []cli.Flag{
			modelFlag(),
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "the `TEXT`"},
			&cli.IntFlag{Name: "ctx", Aliases: []string{"c"}, Usage: "tokens of a window, of which the second half is scored, as llama-perplexity does it; 0: all of the text is one window, every token scored"},
			&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "0: as many as there are cores"},
		},
		Action: runPerplexity,
	}
}

func runPerplexity(c *cli.Context) (err error) {
	if c.String("file") == "" {
		return &core.Fault{Kind: core.Invalid, What: "want --file", Try: "rbee worker perplexity --file text.txt"}
	}
	if c.Int("ctx") < 0 {
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--ctx: is %d, at least 0", c.Int("ctx"))}
	}
	text, err := os.ReadFile(c.String("file"))
	if err != nil {
		return &core.Fault{Kind: core.Invalid, What: err.Error(), Cause: err}
	}
	room := c.Int("ctx")
	if room == 0 {
		if room, err = countTokens(c.String("model"), string(text)); err != nil {
			return err
		}
	}
	threads := c.Int("threads")
	if threads <= 0 {
		threads = machine.UsableCores()
	}
	e, err := openTool(c.Context, c.String("model"), room, threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	p, err := e.Perplexity(c.Context, string(text), c.Int("ctx"))
	if err != nil {
		return requestFault(err, e)
	}
	return json.NewEncoder(c.App.Writer).Encode(struct {
		Perplexity float64 `json:"perplexity"`
		MeanNLL    float64 `json:"mean_nll"`
		Tokens     int     `json:"tokens"`
		Windows    int     `json:"windows"`
	}{p.Value, p.MeanNLL, p.Tokens, p.Windows})
}

// countTokens is the context that a text takes.
func countTokens(model, text string) (int, error) {
	t, err := inference.OpenText(model)
	if err != nil {
		return 0, loadFault(model, err)
	}
	return len(t.Tokenize(text, inference.EncodeOptions{AddSpecial: true})), t.Close()
}

func dequantizeCommand() *cli.Command {
	return &cli.Command{
		Name: "dequantize", Usage: "the values of the blocks on stdin, as float32, little-endian",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Usage: "the block type, such as `Q4_K`"},
			&cli.Int64Flag{Name: "count", Usage: "how many values; 0: all there are"},
		},
		Action: func(c *cli.Context) error {
			err := inference.Dequantize(c.App.Writer, c.App.Reader, c.String("type"), c.Int64("count"))
			if errors.Is(err, inference.ErrBadRequest) {
				return &core.Fault{Kind: core.Invalid, What: err.Error(), Cause: err}
			}
			return err
		},
	}
}
