package cmdline

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
)

// TestFlags say what a measurement consists of, in llama-bench's names.
func TestFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "n-prompt", Aliases: []string{"p"}, Usage: "tokens read at once; 0: none", Value: "512"},
		&cli.StringFlag{Name: "n-gen", Aliases: []string{"n"}, Usage: "tokens made one by one; 0: none", Value: "128"},
		&cli.StringFlag{Name: "n-depth", Aliases: []string{"d"}, Usage: "tokens in the cache before either", Value: "0"},
		&cli.StringFlag{Name: "threads", Aliases: []string{"t"}, Usage: "0: as many as there are cores", Value: "0"},
		&cli.IntFlag{Name: "repetitions", Aliases: []string{"r"}, Usage: "of each measurement", Value: 5},
	}
}

// ReadTests reads the flags of TestFlags.
func ReadTests(c *cli.Context) (t api.Tests, err error) {
	for name, list := range map[string]*[]int{"n-prompt": &t.Prompts, "n-gen": &t.Gens, "n-depth": &t.Depths, "threads": &t.Threads} {
		for f := range strings.SplitSeq(c.String(name), ",") {
			n, err := strconv.Atoi(strings.TrimSpace(f))
			if err != nil || n < 0 {
				return t, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--%s: %q is no number of at least 0", name, f)}
			}
			*list = append(*list, n)
		}
	}
	if t.Repetitions = c.Int("repetitions"); t.Repetitions < 1 {
		return t, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--repetitions: is %d, at least 1", t.Repetitions)}
	}
	if t.None() {
		return t, &core.Fault{Kind: core.Invalid, What: "nothing to measure: -p and -n are 0"}
	}
	return t, t.Validate()
}
