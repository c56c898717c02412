package keeper

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/config"
	"rbee/core/remote"
)

func upgradeNode(c *cli.Context) error {
	name, settings, err := oneName(c, "node")
	if err != nil {
		return err
	}
	door := newDoorman(c, settings)
	n, err := door.resolve(c.Context, name)
	if err != nil {
		return err
	}
	conn, err := door.reach(c.Context, n, settings)
	if err != nil {
		return err
	}
	defer conn.Close()
	return watched(c.Context, conn, settings.Limits, func() error {
		act := upgrade
		if c.Bool("rollback") {
			act = rollback
		}
		if err := act(c, conn, name, settings); err != nil {
			return err
		}
		return sayRunning(c.Context, c, conn, name)
	})
}

func upgrade(c *cli.Context, conn *remote.Conn, name string, settings config.Settings) error {
	facts, err := conn.Probe(c.Context)
	if err != nil {
		return err
	}
	s := newScreen(c, settings.Terminal)
	got, err := conn.Provide(c.Context, facts, remote.Pushing{
		Force: c.Bool("force"), Stall: settings.Limits.HiveUp,
		Progress: func(sent, total int64) { s.progress(fmt.Sprintf("%d of %d MB", sent/1e6, total/1e6)) },
	})
	s.clear()
	switch {
	case err != nil:
		return err
	case got.Bytes == 0:
		_, err = fmt.Fprintf(c.App.Writer, "node %s has rbee %s already, at %s\n", name, core.Version, got.Path)
	case got.Was == "":
		_, err = fmt.Fprintf(c.App.Writer, "node %s has rbee %s now, at %s\n", name, core.Version, got.Path)
	default:
		_, err = fmt.Fprintf(c.App.Writer, "node %s has rbee %s now, at %s; %s is kept beside it as rbee.old\n", name, core.Version, got.Path, got.Was)
	}
	return err
}

func rollback(c *cli.Context, conn *remote.Conn, name string, _ config.Settings) error {
	version, err := conn.Rollback(c.Context)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "node %s has rbee %s again; the other one is kept beside it as rbee.old\n", name, version)
	if err == nil && version != core.Version && !remote.Newer(version, core.Version) {
		_, err = fmt.Fprintf(c.App.ErrWriter, "rbee: the next infer of this version, %s, upgrades it again\n", core.Version)
	}
	return err
}

// sayRunning says whether a hive runs there with another program.
func sayRunning(ctx context.Context, c *cli.Context, conn *remote.Conn, name string) error {
	h, err := hiveThere(ctx, conn)
	if err != nil || h.Version == core.Version {
		return nil //nolint:nilerr // none runs, as far as can be seen
	}
	_, err = fmt.Fprintf(c.App.ErrWriter, "rbee: the hive that runs on %s is %s, and stays so until it is ended\n", name, h.Version)
	return err
}
