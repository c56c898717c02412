package keeper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
)

func modelCommand() *cli.Command {
	node := func(usage string) cli.Flag { return &cli.StringFlag{Name: "node", Usage: usage} }
	asJSON := &cli.BoolFlag{Name: "json", Usage: "as the queen says it"}
	return &cli.Command{
		Name: "model", Usage: "models: fetch, list, check, remove them",
		Description: "Without a queen that runs, one is started, and ends with the command.",
		Subcommands: []*cli.Command{
			pullCommand(),
			{
				Name: "list", Usage: "the models that are there, and where", Action: withAnyQueen(listModels),
				Flags: []cli.Flag{queenFlag(), node("only of this machine"), asJSON, acceptNewFlag()},
			},
			{
				Name: "show", Usage: "all that is known of a model", ArgsUsage: "MODEL", Action: withAnyQueen(showModel, wants(1, 1, "one model", "rbee model show MODEL")),
				Flags: []cli.Flag{queenFlag(), node("only of this machine"), asJSON, acceptNewFlag()},
			},
			{
				Name: "rm", Usage: "remove a model from the disk", ArgsUsage: "MODEL…", Action: withAnyQueen(removeModels, wants(1, many, "a model", "rbee model rm MODEL, one of rbee model list"), oneWay),
				Description: "Of a file of yours that is used in place only what is known of it goes, the file stays.",
				Flags: []cli.Flag{
					queenFlag(), node("from this machine (default: localhost)"),
					&cli.BoolFlag{Name: "all-nodes", Usage: "from every machine that has it"}, acceptNewFlag(),
				},
			},
			verifyCommand(), importCommand(),
			{
				Name: "gc", Usage: "remove what no model needs, such as the rests of downloads", Action: withAnyQueen(collect),
				Flags: []cli.Flag{
					queenFlag(), node("only on this machine"), &cli.BoolFlag{Name: "dry-run", Usage: "only say what would go"}, asJSON, acceptNewFlag(),
				},
			},
		},
	}
}

// nodeFlag is --node.
func (x *session) nodeFlag() core.NodeName { return core.NodeName(x.String("node")) }

// answer writes what a queen said as JSON.
func (x *session) answer(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("keeper: %w", err)
	}
	return x.screen.write(string(b) + "\n")
}

func listModels(ctx context.Context, x *session) error {
	var list api.Models
	err := x.on(ctx, x.nodeFlag(), func() (err error) {
		list, err = x.queen.client.PoolModels(ctx, x.nodeFlag())
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(list.Models, func(a, b api.Model) int {
		return cmp.Or(cmp.Compare(nameOf(a.Ref), nameOf(b.Ref)), cmp.Compare(a.Node, b.Node))
	})
	if x.Bool("json") {
		return x.answer(list)
	}
	err = table(x.App.Writer, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "NODE\tMODEL\tSIZE\tQUANT\tUSED\t")
		for _, m := range list.Models {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Node, m.Ref, onDisk(m), m.Quantization, ago(m.UsedAt), strings.Join(marks(m), ", "))
		}
	})
	if !slices.ContainsFunc(list.Models, func(m api.Model) bool { return m.Ref != core.Embedded }) {
		x.screen.note("no other models are there; rbee model pull tinyllama fetches one")
	}
	return err
}

// onDisk is the size of a model's files; the embedded one has none.
func onDisk(m api.Model) string {
	if m.Ref == core.Embedded {
		return ""
	}
	return size(m.SizeBytes)
}

// ago is a time for people.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d, unit, name := time.Since(t), time.Second, "seconds"
	switch {
	case d > 48*time.Hour:
		unit, name = 24*time.Hour, "days"
	case d > 2*time.Hour:
		unit, name = time.Hour, "hours"
	case d > 2*time.Minute:
		unit, name = time.Minute, "minutes"
	}
	return fmt.Sprintf("%d %s ago", d/unit, name)
}

// marks are what keeps a model from being removed.
func marks(m api.Model) (list []string) {
	if m.Pinned {
		list = append(list, "pinned")
	}
	if m.InUse {
		list = append(list, "in use")
	}
	return list
}

func showModel(ctx context.Context, x *session) error {
	model, err := x.model(ctx, x.Args().First())
	if err != nil {
		return err
	}
	var list api.Models
	err = x.on(ctx, x.nodeFlag(), func() (err error) {
		list, err = x.queen.client.Show(ctx, model, x.nodeFlag())
		return err
	})
	if err != nil {
		return err
	}
	if x.Bool("json") {
		return x.answer(list)
	}
	for n, m := range list.Models {
		if n > 0 {
			if err := x.screen.write("\n"); err != nil {
				return err
			}
		}
		if err := table(x.App.Writer, func(w io.Writer) { modelFacts(w, m) }); err != nil {
			return err
		}
	}
	return nil
}

// modelFacts writes what is known of a model, one fact a line.
func modelFacts(w io.Writer, m api.Model) {
	fact := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	fact("model", string(m.Ref))
	fact("node", string(m.Node))
	fact("size", onDisk(m))
	fact("architecture", m.Architecture)
	fact("quantization", m.Quantization)
	fact("parameters", count(m.Parameters))
	fact("source", m.Source)
	fact("revision", m.Revision)
	fact("used", fmt.Sprintf("%d times, %s", m.Uses, ago(m.UsedAt)))
	fact("kept", strings.Join(marks(m), ", "))
	if len(m.Files) == 0 {
		fact("file", m.Path)
		fact("sha256", m.SHA256)
	}
	for _, f := range m.Files {
		fact("file", cmp.Or(f.Path, f.Name))
		fact("sha256", f.SHA256)
	}
}

// count is a number of parameters for people; empty when it is not known.
func count(n int64) string {
	switch {
	case n <= 0:
		return ""
	case n < 1e9:
		return fmt.Sprintf("%d million", (n+5e5)/1e6)
	}
	return fmt.Sprintf("%.1f billion", float64(n)/1e9)
}

// oneWay is a check that says from where a model is removed.
func oneWay(c *cli.Context) error {
	if c.Bool("all-nodes") && c.IsSet("node") {
		return &core.Fault{Kind: core.Invalid, What: "--node with --all-nodes", Try: "give one of them"}
	}
	return nil
}

func removeModels(ctx context.Context, x *session) error {
	node := cmp.Or(x.nodeFlag(), core.Localhost)
	if x.Bool("all-nodes") {
		node = ""
	}
	var failed []error
	for _, typed := range x.Args().Slice() {
		model, err := x.model(ctx, typed)
		if err == nil {
			err = x.remove(ctx, typed, model, node)
		}
		failed = append(failed, err)
	}
	return x.together(failed)
}

// remove removes a model from a node, or from all.
func (x *session) remove(ctx context.Context, typed string, model core.ModelRef, node core.NodeName) error {
	var gone api.Removed
	err := x.on(ctx, node, func() (err error) {
		gone, err = x.queen.client.RemoveModel(ctx, model, node)
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range gone.Nodes {
		if err := x.screen.write(fmt.Sprintf("%s is gone from %s\n", typed, n)); err != nil {
			return err
		}
	}
	return x.nodeErrors(gone.Errors)
}

// nodeErrors are what single nodes could not do.
func (x *session) nodeErrors(list []api.NodeError) error {
	var failed []error
	for _, e := range list {
		failed = append(failed, &core.Fault{Kind: e.Code, What: fmt.Sprintf("%s: %s", e.Node, e.Error), Try: e.Try})
	}
	return x.together(failed)
}

// together tells all errors; the first is returned.
func (x *session) together(list []error) (first error) {
	for _, err := range list {
		switch {
		case err == nil:
		case first == nil || errors.Is(err, errReaderGone):
			first = err
		default:
			x.screen.verdict(err)
		}
	}
	return first
}

func collect(ctx context.Context, x *session) error {
	var list api.Collection
	err := x.on(ctx, x.nodeFlag(), func() (err error) {
		list, err = x.queen.client.Collect(ctx, api.CollectRequest{DryRun: x.Bool("dry-run"), Node: x.nodeFlag()})
		return err
	})
	if err != nil {
		return err
	}
	if x.Bool("json") {
		return cmp.Or(x.answer(list), x.nodeErrors(list.Errors))
	}
	var bytes int64
	err = table(x.App.Writer, func(w io.Writer) {
		for _, f := range list.Removed {
			bytes += f.SizeBytes
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Node, size(f.SizeBytes), f.Path, f.Why)
		}
	})
	if err != nil {
		return err
	}
	files, done := "files", "removed"
	if len(list.Removed) == 1 {
		files = "file"
	}
	if x.Bool("dry-run") {
		done = "would be removed"
	}
	x.screen.note(fmt.Sprintf("%d %s, %s, %s", len(list.Removed), files, size(bytes), done))
	return x.nodeErrors(list.Errors)
}
