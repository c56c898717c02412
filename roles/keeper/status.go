package keeper

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "queen, hives and workers, with their memory",
		Flags:  []cli.Flag{queenFlag()},
		Action: withQueen(status),
	}
}

func psCommand() *cli.Command {
	return &cli.Command{
		Name: "ps", Usage: "the workers, one a line",
		Flags:  []cli.Flag{queenFlag()},
		Action: withQueen(ps),
	}
}

func queenFlag() cli.Flag { return &cli.StringFlag{Name: "queen", Usage: "`URL` of the queen to ask"} }

// withQueen is an action that needs a queen that runs.
func withQueen(act func(ctx context.Context, c *cli.Context, q *client.Client) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		q, err := theQueen(c)
		if err != nil {
			return err
		}
		if q == nil {
			return &core.Fault{Kind: core.NodeUnreachable, What: "no queen of yours runs on this machine", Try: "queen-rbee daemon &"}
		}
		defer q.Close()
		return act(c.Context, c, q)
	}
}

// theQueen is the one at --queen, or the one that runs here; nil: there is none.
func theQueen(c *cli.Context) (*client.Client, error) {
	settings, err := cmdline.Settings()
	if err != nil {
		return nil, err
	}
	token, err := secure.TokenIn(settings.TokenFile)
	if err != nil {
		return nil, err
	}
	if url := c.String("queen"); url != "" {
		return client.New(url, client.Options{Token: token}), nil
	}
	return running(c.Context, settings, token), nil
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
			_, _ = fmt.Fprintf(w, "hive\t%s\t%s\t%s\t%s\n", v.Node, v.Version, v.State, memoryOf(v))
		}
		for _, v := range workers.Workers {
			_, _ = fmt.Fprintf(w, "worker\t%s\t%s\n", v.Node, workerLine(v))
		}
	})
}

// memoryOf is what a hive's devices have free, or why it is away.
func memoryOf(h api.Hive) string {
	if h.Error != "" {
		return h.Error
	}
	list := make([]string, len(h.Devices))
	for i, d := range h.Devices {
		list[i] = fmt.Sprintf("%s %d: %s of %s free", d.Backend, d.Index, size(d.MemoryFreeBytes), size(d.MemoryTotalBytes))
	}
	return strings.Join(list, ", ")
}

func workerLine(v api.Worker) string {
	return fmt.Sprintf("%s\t%s\t%s\t%d of %d slots free\t%s\tidle %v", v.ID, v.ModelRef, v.State,
		v.SlotsAvailable, v.SlotsTotal, size(v.MemoryBytes), time.Since(v.LastActivity).Round(time.Second))
}

func ps(ctx context.Context, c *cli.Context, q *client.Client) error {
	workers, err := q.QueenWorkers(ctx)
	if err != nil {
		return err
	}
	return table(c.App.Writer, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "NODE\tWORKER\tMODEL\tSTATE\tSLOTS\tMEMORY\tIDLE\tPID")
		for _, v := range workers.Workers {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d/%d\t%s\t%v\t%d\n", v.Node, v.ID, v.ModelRef, v.State,
				v.SlotsAvailable, v.SlotsTotal, size(v.MemoryBytes), time.Since(v.LastActivity).Round(time.Second), v.PID)
		}
	})
}

// size is a number of bytes for people.
func size(bytes int64) string {
	if bytes < 1e6 {
		return fmt.Sprintf("%d kB", (bytes+999)/1e3)
	}
	if bytes < 1e9 {
		return fmt.Sprintf("%d MB", bytes/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
}

// table writes columns.
func table(out io.Writer, rows func(w io.Writer)) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows(w)
	return w.Flush()
}
