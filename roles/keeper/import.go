package keeper

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"rbee/core"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "use files that are on this machine already, where they are", ArgsUsage: "[FILE.gguf…]", Action: withAnyQueen(importModels, filesOrFrom),
		Flags: []cli.Flag{
			queenFlag(),
			&cli.StringFlag{Name: "from", Usage: "what other programs have: huggingface, ollama, lmstudio or all"},
			&cli.BoolFlag{Name: "list", Usage: "with --from: only say what is there"},
		},
	}
}

// filesOrFrom is a check that says what is imported.
func filesOrFrom(c *cli.Context) error {
	from := c.String("from")
	switch {
	case c.Bool("list") && from == "":
		return &core.Fault{Kind: core.Invalid, What: "--list without --from", Try: "rbee model import --from all --list"}
	case (from == "") == (c.Args().Len() == 0):
		return &core.Fault{Kind: core.Invalid, What: "want files, or --from", Try: "rbee model import FILE.gguf, or rbee model import --from all --list"}
	}
	return nil
}

func importModels(ctx context.Context, x *session) error {
	if from := x.String("from"); from != "" {
		return x.importFrom(ctx, from)
	}
	var failed []error
	for _, file := range x.Args().Slice() {
		path, err := filepath.Abs(file)
		if err != nil {
			return fmt.Errorf("keeper: %w", err)
		}
		failed = append(failed, x.importFile(ctx, path, ""))
	}
	return x.together(failed)
}

// importFile puts a file into the catalog of the queen's machine.
func (x *session) importFile(ctx context.Context, path, from string) error {
	m, err := x.queen.client.ImportKept(ctx, path, from)
	if err != nil {
		return x.queen.why(ctx, err)
	}
	return x.screen.write(string(m.Ref) + "\n")
}

// importFrom imports what other programs keep, or lists it.
func (x *session) importFrom(ctx context.Context, from string) error {
	found, err := x.queen.client.Found(ctx, from)
	if err != nil {
		return x.queen.why(ctx, err)
	}
	if len(found.Models) == 0 {
		x.screen.note(fmt.Sprintf("no models of %s are on this machine", programs(from)))
		return nil
	}
	if x.Bool("list") {
		return table(x.App.Writer, func(w io.Writer) {
			for _, m := range found.Models {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.From, m.Name, size(m.SizeBytes), cmp.Or(m.Error, m.Path))
			}
		})
	}
	var failed []error
	for _, m := range found.Models {
		if m.Error != "" {
			x.screen.note(fmt.Sprintf("%s of %s is left out: %s", m.Name, m.From, m.Error))
			continue
		}
		failed = append(failed, x.importFile(ctx, m.Path, m.From))
	}
	return x.together(failed)
}

func programs(from string) string {
	if from == "all" {
		return "huggingface, ollama and lmstudio"
	}
	return from
}
