package worker

import (
	"fmt"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/machine"
	"rbee/inference"
)

// verifyText is what verify computes when it is given nothing else.
const verifyText = "The hive stood at the end of the lane, and 27 bees flew out of it; nobody knew where they went."

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "compute a text twice, by the engine and by the slow reference engine, and compare layer by layer", ArgsUsage: "[FILE]",
		Flags: []cli.Flag{
			modelFlag(),
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "the `TEXT`; its first 24 tokens count", Value: verifyText},
			&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "0: as many as there are cores"},
		},
		Action: verify,
	}
}

func verify(c *cli.Context) error {
	path := c.String("model")
	if c.Args().Present() {
		path = c.Args().First()
	}
	threads := c.Int("threads")
	if threads <= 0 {
		threads = machine.UsableCores()
	}
	table := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "part\tmax error\tcosine\tworst channel\tlimit\tstands out\tverdict")
	var wrong []string
	for check, err := range inference.Verify(c.Context, path, inference.Options{Threads: threads}, c.String("prompt")) {
		if err != nil {
			return loadFault(path, err)
		}
		verdict := "ok"
		if !check.OK() {
			verdict = "WRONG"
			wrong = append(wrong, check.Part)
		}
		fmt.Fprintf(table, "%s\t%.2g\t%.6f\t%.2g\t%.2g\t%.1f\t%s\n", check.Part, check.MaxError, check.Cosine, check.Worst, check.Limit, check.Alone, verdict)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(wrong) > 0 {
		return &core.Fault{
			Kind: core.InferenceFailed, What: fmt.Sprintf("the engine and the reference disagree, first in %s", wrong[0]),
			Try: "check the file and the memory of this machine; if both are in order, report it with this table",
		}
	}
	return nil
}
