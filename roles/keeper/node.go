package keeper

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/config"
	"rbee/core/remote"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

func nodeCommand() *cli.Command {
	return &cli.Command{
		Name: "node", Usage: "the machines: check, remember, upgrade them",
		Description: "Any Host of ~/.ssh/config is a node by its name. What is added here stands in config.toml, and goes over it.",
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "check a machine and remember it", ArgsUsage: "[USER@]HOST[:PORT]", Action: addNode,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "name", Usage: "what to call it (default: HOST)"},
					&cli.StringSliceFlag{Name: "key", Usage: "`FILE` with the private key to log in with; may be repeated"},
					&cli.StringFlag{Name: "jump", Usage: "`[USER@]HOST[:PORT]` through which it is reached"},
					&cli.BoolFlag{Name: "no-check", Usage: "remember it without a look"},
					acceptNewFlag(),
				},
			},
			{Name: "list", Usage: "the machines that are remembered", Action: listNodes},
			{
				Name: "check", Usage: "what works on a machine, step by step, and what to do", ArgsUsage: "NODE…", Action: checkNodes,
				Description: "It looks, and changes nothing there. Without a name, every machine that is remembered.",
				Flags:       []cli.Flag{acceptNewFlag()},
			},
			{
				Name: "upgrade", Usage: "put this version of the program on a machine", ArgsUsage: "NODE", Action: upgradeNode,
				Description: "What runs there goes on with the program that it was started from.",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "force", Usage: "also over a newer version, and over this very one"},
					&cli.BoolFlag{Name: "rollback", Usage: "put back the program that the last upgrade replaced"},
					acceptNewFlag(),
				},
			},
			{Name: "rm", Usage: "forget a machine; nothing changes there", ArgsUsage: "NODE", Action: removeNode},
		},
	}
}

// oneName is the one argument of a command, with the settings.
func oneName(c *cli.Context, what string) (name string, settings config.Settings, err error) {
	if c.Args().Len() != 1 {
		return "", settings, &core.Fault{Kind: core.Invalid, What: "want one " + what, Try: fmt.Sprintf("rbee node %s %s", c.Command.Name, c.Command.ArgsUsage)}
	}
	settings, err = cmdline.Settings()
	return c.Args().First(), settings, err
}

func addNode(c *cli.Context) error {
	target, settings, err := oneName(c, "machine")
	if err != nil {
		return err
	}
	name, n, err := newNode(c, target)
	if err != nil {
		return err
	}
	if !c.Bool("no-check") {
		settings.Nodes = maps.Clone(settings.Nodes)
		if settings.Nodes == nil {
			settings.Nodes = map[string]config.Node{}
		}
		settings.Nodes[name] = n
		if err := checkOne(c, settings, name); err != nil {
			return err
		}
	}
	if err := settings.Paths.AddNode(name, n); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "node %s is remembered in %s\n", name, settings.Paths.Own)
	return err
}

// newNode makes a node of what was typed.
func newNode(c *cli.Context, target string) (name string, n config.Node, err error) {
	e, err := remote.ParseTarget(target)
	if err != nil {
		return "", n, err
	}
	e.Keys, e.Jump = c.StringSlice("key"), c.String("jump")
	if name = cmp.Or(c.String("name"), e.Host); name == e.Host {
		e.Host = "" // its name says it
	}
	return name, config.Node(e), config.CheckNode(name)
}

func removeNode(c *cli.Context) error {
	name, settings, err := oneName(c, "node")
	if err != nil {
		return err
	}
	found, err := settings.Paths.RemoveNode(name)
	if err != nil {
		return err
	}
	if !found {
		return &core.Fault{Kind: core.NodeNotFound, What: fmt.Sprintf("node %s is not in %s; a Host of ~/.ssh/config needs no forgetting", name, settings.Paths.Own), Try: "rbee node list"}
	}
	_, err = fmt.Fprintf(c.App.Writer, "node %s is forgotten; what is on it stays: ~/.local/bin/rbee, ~/.rbee, its models\n", name)
	return err
}

func listNodes(c *cli.Context) error {
	settings, err := cmdline.Settings()
	if err != nil {
		return err
	}
	if len(settings.Nodes) == 0 {
		_, err := fmt.Fprintln(c.App.ErrWriter, "rbee: no node is remembered; any Host of ~/.ssh/config is one by its name, and rbee node add USER@HOST adds one")
		return err
	}
	state := hivesNow(c.Context, settings)
	return table(c.App.Writer, func(w io.Writer) {
		for _, name := range slices.Sorted(maps.Keys(settings.Nodes)) {
			at := "?"
			if n, err := remote.Entry(settings.Nodes[name]).Resolve(c.Context, name, ""); err == nil {
				at = way(n)
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", name, at, state[core.NodeName(name)])
		}
	})
}

// way is how a node is reached.
func way(n remote.Node) string {
	words := []string{n.String()}
	for hop := n.Via; hop != nil; hop = hop.Via {
		words = append(words, "via", hop.String())
	}
	if n.Proxy != "" {
		words = append(words, "by", strings.Fields(n.Proxy)[0])
	}
	return strings.Join(words, " ")
}

// hivesNow says of which nodes the queen that runs has a hive.
func hivesNow(ctx context.Context, settings config.Settings) map[core.NodeName]string {
	token, _ := secure.TokenIn(settings.TokenFile) // without one she says nothing
	q := running(ctx, settings, token)
	if q == nil {
		return nil
	}
	defer q.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list, _ := q.Hives(ctx)
	state := map[core.NodeName]string{}
	for _, h := range list.Hives {
		state[h.Node] = "hive " + h.State
	}
	return state
}
