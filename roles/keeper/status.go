package keeper

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/client"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Aliases: []string{"ps"}, Usage: "hives and workers of the queen that runs",
		Flags:  []cli.Flag{queenFlag()},
		Action: withQueen(status),
	}
}

func queenFlag() cli.Flag { return &cli.StringFlag{Name: "queen", Usage: "`URL` of the queen to ask"} }

func modelCommand() *cli.Command {
	return &cli.Command{
		Name: "model", Usage: "models of the queen that runs",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "what her hives have", Flags: []cli.Flag{queenFlag()}, Action: withQueen(listModels)},
			{Name: "import", Usage: "let requests name a file of her machine", ArgsUsage: "FILE", Flags: []cli.Flag{queenFlag()}, Action: withQueen(importModel)},
		},
	}
}

// withQueen is an action that needs a queen that runs.
func withQueen(act func(ctx context.Context, c *cli.Context, q *client.Client) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		settings, err := cmdline.Settings()
		if err != nil {
			return err
		}
		token := ""
		if settings.TokenFile != "" {
			if token, err = secure.ReadToken(settings.TokenFile); err != nil {
				return err
			}
		}
		q := running(c.Context, token)
		if url := c.String("queen"); url != "" {
			q = client.New(url, client.Options{Token: token})
		}
		if q == nil {
			return &core.Fault{Kind: core.NodeUnreachable, What: "no queen of yours runs on this machine", Try: "queen-rbee daemon &"}
		}
		defer q.Close()
		return act(c.Context, c, q)
	}
}

func status(ctx context.Context, c *cli.Context, q *client.Client) error {
	h, err := q.Health(ctx)
	if err != nil {
		return err
	}
	hives, err := q.Hives(ctx)
	if err != nil {
		return err
	}
	workers, err := q.QueenWorkers(ctx)
	if err != nil {
		return err
	}
	return table(c.App.Writer, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "queen\t%s\t%s\t%s\n", q.URL(), h.Version, h.Mode)
		for _, v := range hives.Hives {
			_, _ = fmt.Fprintf(w, "hive\t%s\t%s\t%s\n", v.Node, v.Version, v.State)
		}
		for _, v := range workers.Workers {
			_, _ = fmt.Fprintf(w, "worker\t%s\t%s\t%s\t%s\t%d of %d slots free\t%d MB\tidle %v\n", v.Node, v.ID, v.ModelRef, v.State,
				v.SlotsAvailable, v.SlotsTotal, v.MemoryBytes/1e6, time.Since(v.LastActivity).Round(time.Second))
		}
	})
}

// table writes columns.
func table(out io.Writer, rows func(w io.Writer)) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows(w)
	return w.Flush()
}

func listModels(ctx context.Context, c *cli.Context, q *client.Client) error {
	list, err := q.PoolModels(ctx)
	if err != nil {
		return err
	}
	return table(c.App.Writer, func(w io.Writer) {
		for _, m := range list.Models {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d MB\n", m.Node, m.Ref, m.Architecture, m.Quantization, m.SizeBytes/1e6)
		}
	})
}

func importModel(ctx context.Context, c *cli.Context, q *client.Client) error {
	if c.Args().Len() != 1 {
		return &core.Fault{Kind: core.Invalid, What: "want one file", Try: "rbee model import FILE.gguf"}
	}
	path, err := filepath.Abs(c.Args().First())
	if err != nil {
		return fmt.Errorf("keeper: %w", err)
	}
	m, err := q.Import(ctx, path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, m.Ref)
	return err
}
