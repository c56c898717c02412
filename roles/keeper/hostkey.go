package keeper

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/config"
	"rbee/core/remote"
)

func acceptNewFlag() cli.Flag {
	return &cli.BoolFlag{Name: "accept-new", Usage: "take the host key of a machine that was never met as true, and remember it"}
}

// A doorman decides about host keys that known_hosts does not have: a person does,
// or --accept-new, or ~/.ssh/config.
type doorman struct {
	accept bool
	nodes  map[string]config.Node
	errs   io.Writer
	ask    func() (io.ReadWriteCloser, error) // the person's terminal
}

func newDoorman(c *cli.Context, settings config.Settings) doorman {
	return doorman{accept: c.Bool("accept-new"), nodes: settings.Nodes, errs: c.App.ErrWriter, ask: func() (io.ReadWriteCloser, error) {
		if !isTerminal(c.App.ErrWriter) {
			return nil, errors.New("keeper: nobody is there to be asked")
		}
		return os.OpenFile("/dev/tty", os.O_RDWR, 0)
	}}
}

// maxAsked bounds how many keys one attempt may ask for: one for each host on the way.
const maxAsked = 10

// through runs try until no host key is in its way any more. The name is that of the
// node; empty, if only the queen knows it.
func (d doorman) through(ctx context.Context, name string, try func() error) error {
	for n := 0; ; n++ {
		err := try()
		key, unknown := remote.UnknownKey(err)
		if !unknown || n == maxAsked {
			return err
		}
		if err := d.admit(ctx, name, key, err); err != nil {
			return err
		}
	}
}

// resolve says where a node is.
func (d doorman) resolve(ctx context.Context, name string) (remote.Node, error) {
	if name == string(core.Localhost) {
		return remote.Node{}, &core.Fault{Kind: core.Invalid, What: "localhost is the queen's own machine, which needs no login", Try: "rbee hive detect"}
	}
	return remote.Entry(d.nodes[name]).Resolve(ctx, name, "")
}

// admit writes the key into known_hosts, if it is trusted; else it returns err.
func (d doorman) admit(ctx context.Context, name string, key remote.HostKeyError, err error) error {
	entry := remote.Entry(d.nodes[name])
	if name == "" {
		var bad error
		if entry, bad = remote.ParseTarget(key.Host); bad != nil {
			return bad
		}
		name = entry.Host
	}
	n, rerr := entry.Resolve(ctx, name, "")
	if rerr != nil {
		return rerr
	}
	if !d.accept && !n.AcceptNew {
		if n.NeverAsk || !d.trusts(ctx, key) {
			return err
		}
	}
	if err := n.Trust(key); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(d.errs, "rbee: the %s key of %s is known from now on: %s\n", key.KeyType(), key.Host, key.Fingerprint)
	return nil
}

// trusts asks the person.
func (d doorman) trusts(ctx context.Context, key remote.HostKeyError) bool {
	tty, err := d.ask()
	if err != nil {
		return false
	}
	defer tty.Close()
	_, _ = fmt.Fprintf(tty, "The host %s was never met. Its %s key has the fingerprint\n  %s\n", key.Host, key.KeyType(), key.Fingerprint)
	answers := make(chan bool, 1)
	go func() { answers <- readAnswer(tty, key.Fingerprint) }() // ends with the terminal, at the latest with the process
	select {
	case yes := <-answers:
		return yes
	case <-ctx.Done():
		_, _ = fmt.Fprintln(tty)
		return false
	}
}

// readAnswer asks until the answer is one: yes, no, or the fingerprint itself.
func readAnswer(tty io.ReadWriter, fingerprint string) bool {
	lines := bufio.NewReader(tty)
	for {
		_, _ = fmt.Fprint(tty, "Is it the right one (yes, no, or the fingerprint you expect)? ")
		line, err := lines.ReadString('\n')
		switch answer := strings.TrimSpace(line); {
		case answer == "yes" || answer == fingerprint:
			return true
		case answer == "no" || strings.HasPrefix(answer, "SHA256:") || err != nil:
			return false
		}
	}
}

// reach logs in to a node. The caller closes the connection.
func (d doorman) reach(ctx context.Context, n remote.Node, settings config.Settings) (conn *remote.Conn, err error) {
	err = d.through(ctx, n.Alias, func() error {
		conn, err = remote.Dial(ctx, n, settings.Limits.SSHConnect)
		return err
	})
	return conn, err
}

// watched runs act on a connection, which is closed when the node falls silent.
func watched(ctx context.Context, conn *remote.Conn, limits config.Limits, act func() error) error {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- conn.Watch(ctx, limits.Beat, limits.BeatLost) }()
	err := act()
	stop()
	if lost := <-done; lost != nil && errors.Is(err, core.NodeUnreachable) {
		err = lost
	}
	return err
}
