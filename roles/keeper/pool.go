package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/roles/cmdline"
)

// shapeFlags are those of commands that are about a worker for a model.
func shapeFlags() []cli.Flag {
	return append([]cli.Flag{
		queenFlag(),
		&cli.StringFlag{Name: "node", Usage: "the machine: localhost, or a `NAME` of the pool"},
		&cli.IntFlag{Name: "slots", Usage: "answers at once; 0: the queen's choice"},
	}, workerFlags()...)
}

// workerFlags say what a worker must be.
func workerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "ctx", Usage: "tokens of context; 0: the model's, at most 8192"},
		&cli.IntFlag{Name: "threads", Usage: "0: as many as there are cores"},
		&cli.StringFlag{Name: "backend", Usage: "cpu"},
		&cli.IntFlag{Name: "device", Usage: "number of the device"},
	}
}

func loadCommand() *cli.Command {
	return &cli.Command{
		Name: "load", Usage: "start a worker for a model ahead of need", ArgsUsage: "MODEL",
		Flags: shapeFlags(), Action: withQueen(load),
	}
}

func unloadCommand() *cli.Command {
	return &cli.Command{
		Name: "unload", Usage: "end the workers of a model", ArgsUsage: "MODEL",
		Flags: []cli.Flag{
			queenFlag(),
			&cli.StringFlag{Name: "node", Usage: "only on this machine"},
			&cli.BoolFlag{Name: "force", Usage: "also those in use, whose answers are cut off"},
		},
		Action: withQueen(unload),
	}
}

func whereCommand() *cli.Command {
	return &cli.Command{
		Name: "where", Usage: "on which machine a model would run, and why", ArgsUsage: "MODEL",
		Flags: shapeFlags(), Action: withQueen(where),
	}
}

func logsCommand() *cli.Command {
	return &cli.Command{
		Name: "logs", Usage: "the last lines of the queen and what she has started",
		Flags: []cli.Flag{
			queenFlag(),
			&cli.StringFlag{Name: "node", Usage: "of this machine's hive"},
			&cli.StringFlag{Name: "worker", Usage: "of the worker with this `ID`"},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "and those that come"},
		},
		Action: withQueen(logs),
	}
}

// modelArgument is the one argument of a command, a path made one that the queen
// may read.
func modelArgument(ctx context.Context, c *cli.Context, q *client.Client) (core.ModelRef, error) {
	if c.Args().Len() != 1 {
		return "", &core.Fault{Kind: core.Invalid, What: "want one model", Try: fmt.Sprintf("rbee %s MODEL", c.Command.Name)}
	}
	path, ok, err := modelPath(c.Args().First())
	if err != nil {
		return "", err
	}
	if !ok {
		return core.ModelRef(c.Args().First()), nil
	}
	m, err := q.Import(ctx, path)
	return m.Ref, err
}

func load(ctx context.Context, c *cli.Context, q *client.Client) error {
	model, err := modelArgument(ctx, c, q)
	if err != nil {
		return err
	}
	w, err := q.Load(ctx, api.LoadRequest{
		Model: model, Node: core.NodeName(c.String("node")), Backend: core.Backend(c.String("backend")), Device: given(c, "device", c.Int),
		ContextLength: c.Int("ctx"), Slots: c.Int("slots"), Threads: c.Int("threads"),
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s on %s: worker %s, %d slots, %s\n", w.ModelRef, w.Node, w.ID, w.SlotsTotal, size(w.MemoryBytes))
	return err
}

func unload(ctx context.Context, c *cli.Context, q *client.Client) error {
	model, err := modelArgument(ctx, c, q)
	if err != nil {
		return err
	}
	list, err := q.QueenWorkers(ctx)
	if err != nil {
		return err
	}
	ref, err := loadedRef(model, list.Workers)
	if err != nil {
		return err
	}
	found := false
	for _, w := range list.Workers {
		if w.ModelRef != ref || c.IsSet("node") && string(w.Node) != c.String("node") {
			continue
		}
		found = true
		err := q.Unload(ctx, w.ID, c.Bool("force"))
		if errors.Is(err, core.WorkerBusy) {
			return &core.Fault{Kind: core.WorkerBusy, What: fmt.Sprintf("worker %s on %s is in use", w.ID, w.Node), Cause: err, Try: "wait for its answers, or --force"}
		}
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(c.App.Writer, "%s on %s: worker %s is gone, %s are free again\n", w.ModelRef, w.Node, w.ID, size(w.MemoryBytes))
	}
	if !found {
		return &core.Fault{Kind: core.WorkerNotFound, What: fmt.Sprintf("model %s is not loaded", ref), Try: "rbee ps"}
	}
	return nil
}

// loadedRef is what a name stands for among the models of workers.
func loadedRef(name core.ModelRef, workers []api.Worker) (core.ModelRef, error) {
	settings, err := cmdline.Settings()
	if err != nil {
		return "", err
	}
	names := cmdline.ModelNames{File: settings.Paths.Aliases}
	ref, err := names.Resolve(name)
	if err != nil {
		return "", err
	}
	one, ok := ref.Among(func(ref core.ModelRef) bool {
		return slices.ContainsFunc(workers, func(w api.Worker) bool { return w.ModelRef == ref })
	})
	if !ok {
		return ref, nil
	}
	return one, nil
}

func where(ctx context.Context, c *cli.Context, q *client.Client) error {
	model, err := modelArgument(ctx, c, q)
	if err != nil {
		return err
	}
	query := url.Values{"model": {string(model)}}
	for flag, name := range map[string]string{"ctx": "context_length", "slots": "slots", "threads": "threads"} {
		if c.IsSet(flag) {
			query.Set(name, strconv.Itoa(c.Int(flag)))
		}
	}
	for _, name := range []string{"node", "backend"} {
		if c.IsSet(name) {
			query.Set(name, c.String(name))
		}
	}
	list, err := q.Where(ctx, query)
	if err != nil {
		return err
	}
	return table(c.App.Writer, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "\tNODE\tDEVICE\tFITS\tNEEDS\tFREE\tLOADED\tON DISK\tSTATE\tWHY NOT")
		for _, v := range list.Candidates {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s %d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", choice(v.Chosen), v.Node, v.Backend, v.Device, fits(v.Fits),
				known(v.RequiredBytes), known(v.FreeBytes), loaded(v), yes(v.OnDisk), v.State, v.Why)
		}
	})
}

func choice(chosen bool) string {
	if chosen {
		return "→"
	}
	return ""
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func fits(is *bool) string {
	if is == nil {
		return "?"
	}
	return yes(*is)
}

func known(bytes int64) string {
	if bytes == 0 {
		return "?"
	}
	return size(bytes)
}

func loaded(v api.Candidate) string {
	if !v.Loaded {
		return "no"
	}
	return fmt.Sprintf("yes, %d free", v.FreeSlots)
}

func logs(ctx context.Context, c *cli.Context, q *client.Client) error {
	err := q.PoolLogs(ctx, core.NodeName(c.String("node")), core.WorkerID(c.String("worker")), c.Bool("follow"), func(line []byte) error {
		if _, err := fmt.Fprintf(c.App.Writer, "%s\n", line); err != nil {
			return fmt.Errorf("%w: %w", errReaderGone, err)
		}
		return nil
	})
	if errors.Is(err, errReaderGone) {
		return nil
	}
	if err == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
