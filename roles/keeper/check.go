package keeper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/config"
	"rbee/core/remote"
	"rbee/roles/cmdline"
)

func checkNodes(c *cli.Context) error {
	settings, err := cmdline.Settings()
	if err != nil {
		return err
	}
	names := c.Args().Slice()
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(settings.Nodes))
	}
	if len(names) == 0 {
		return &core.Fault{Kind: core.Invalid, What: "no node is remembered, and none was named", Try: "rbee node check NODE, with a Host of ~/.ssh/config"}
	}
	var all []error
	for _, name := range names {
		all = append(all, checkOne(c, settings, name))
	}
	return errors.Join(all...)
}

// A check prints each step as it is taken.
type check struct {
	node   string
	out    io.Writer
	failed []error
}

// step prints one step; an error is one that failed.
func (k *check) step(name, found string, err error) bool {
	if err == nil {
		_, _ = fmt.Fprintf(k.out, "  ok    %-8s %s\n", name, found)
		return true
	}
	f := core.FaultOf(err)
	k.failed = append(k.failed, err)
	_, _ = fmt.Fprintf(k.out, "  FAIL  %-8s %s\n", name, cmp.Or(f.What, err.Error()))
	for _, fact := range f.Facts {
		_, _ = fmt.Fprintf(k.out, "                 %s: %s\n", fact.Name, fact.Value)
	}
	k.todo(f.Try)
	return false
}

// todo says what to do about the step before.
func (k *check) todo(try string) {
	if try != "" {
		_, _ = fmt.Fprintf(k.out, "                 Try: %s\n", try)
	}
}

// checkOne checks one node. What it prints is the whole story; its error is short.
func checkOne(c *cli.Context, settings config.Settings, name string) error {
	k := &check{node: name, out: c.App.Writer}
	_, _ = fmt.Fprintf(k.out, "node %s\n", name)
	door := newDoorman(c, settings)
	n, err := door.resolve(c.Context, name)
	if k.step("address", way(n), err) {
		began := time.Now()
		conn, err := door.reach(c.Context, n, settings)
		if k.step("login", fmt.Sprintf("as %s in %.2f s", n.User, time.Since(began).Seconds()), err) {
			defer conn.Close()
			err := watched(c.Context, conn, settings.Limits, func() error { k.look(c.Context, conn); return nil })
			if err != nil {
				k.step("alive", "", err)
			}
		}
	}
	if len(k.failed) == 0 {
		return nil
	}
	first := core.FaultOf(k.failed[0])
	return &core.Fault{Kind: first.Kind, What: fmt.Sprintf("node %s cannot be used: %s", name, cmp.Or(first.What, k.failed[0].Error())), Try: first.Try, Cause: k.failed[0]}
}

// look takes the steps that need a connection.
func (k *check) look(ctx context.Context, conn *remote.Conn) {
	f, err := conn.ProbeAll(ctx)
	if !k.step("system", fmt.Sprintf("%s, shell %s, home %s", f.Kernel, f.Shell, f.Home), err) {
		return
	}
	k.step("tunnel", "both ways", tunnels(ctx, conn))
	k.step("cpu", fmt.Sprintf("%s, %d cores%s", cmp.Or(f.CPU, f.Arch), f.Cores, vectors(f)), nil)
	k.step("libc", cmp.Or(f.Libc, "the system does not say"), nil)
	k.disk(f)
	found, fits := k.program(f)
	k.devices(ctx, conn, f, found)
	k.hive(ctx, conn, fits)
}

// tunnels tries both directions: to the hive and workers, and back to the queen.
func tunnels(ctx context.Context, conn *remote.Conn) error {
	c, err := conn.DialContext(ctx, "tcp", "127.0.0.1:1")
	if err == nil {
		_ = c.Close()
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		err = nil // nobody listens there, which sshd could only find out by trying
	}
	if err == nil {
		err = conn.TryReverse(ctx)
	}
	if err == nil {
		return nil
	}
	return &core.Fault{Kind: core.KindOf(err), What: err.Error(), Try: "AllowTcpForwarding yes in the node's sshd_config", Cause: err}
}

// vectors names what of a CPU's features makes the engine fast.
func vectors(f remote.Facts) string {
	var known []string
	for _, v := range []string{"avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve"} {
		if slices.Contains(f.Features, v) {
			known = append(known, v)
		}
	}
	if len(known) == 0 {
		return ""
	}
	return ", " + strings.Join(known, " ")
}

// little is how much free disk gets a warning: a small model does not fit.
const little = 2 << 30

func (k *check) disk(f remote.Facts) {
	if f.DiskFreeBytes == 0 {
		k.step("disk", "the system does not say", nil)
		return
	}
	k.step("disk", fmt.Sprintf("%.1f GB free in %s", float64(f.DiskFreeBytes)/1e9, f.Home), nil)
	if f.DiskFreeBytes < little {
		k.todo("make room: models are copied there")
	}
}

// program says which version is there, and whether ours fits.
func (k *check) program(f remote.Facts) (path string, fits bool) {
	var versions []string
	for _, p := range f.Programs {
		if p.Version == core.Version {
			return p.Path, k.step("rbee", fmt.Sprintf("%s at %s", p.Version, p.Path), nil)
		}
		versions = append(versions, fmt.Sprintf("%s at %s", cmp.Or(p.Version, "one that does not start"), p.Path))
	}
	what := "none is there; the first use puts it at ~/.local/bin/rbee"
	if len(versions) > 0 {
		what = strings.Join(versions, ", ") + fmt.Sprintf("; the first use puts %s at ~/.local/bin/rbee", core.Version)
	}
	return "", k.step("rbee", what, remote.Fits(k.node, f))
}

// devices says what can compute: our program there knows best.
func (k *check) devices(ctx context.Context, conn *remote.Conn, f remote.Facts, program string) {
	if program != "" {
		var a api.Capabilities
		if out, err := conn.Output(ctx, []string{program, "hive", "detect"}); err == nil && json.Unmarshal(out, &a) == nil {
			for _, d := range a.Devices {
				k.step("device", fmt.Sprintf("%s %d: %s, %.1f of %.1f GB free", d.Backend, d.Index, d.Name, float64(d.MemoryFreeBytes)/1e9, float64(d.MemoryTotalBytes)/1e9), nil)
			}
		}
	}
	for _, gpu := range f.GPUs {
		k.step("device", gpu, nil)
	}
}

// hiveThere asks the hive on the node's port what it is.
func hiveThere(ctx context.Context, conn *remote.Conn) (api.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c := client.New(fmt.Sprintf("http://127.0.0.1:%d", hivePort), client.Options{DialContext: conn.DialContext})
	defer c.Close()
	return c.Health(ctx)
}

func (k *check) hive(ctx context.Context, conn *remote.Conn, fits bool) {
	h, err := hiveThere(ctx, conn)
	switch {
	case err != nil && !fits:
		return
	case err != nil:
		k.step("hive", "none runs; the first use starts one", nil)
	case h.Role != "hive":
		k.step("hive", fmt.Sprintf("port %d is taken by something else; the next free one is used", hivePort), nil)
	case h.Version != core.Version:
		k.step("hive", fmt.Sprintf("one of version %s runs, and is left alone; the first use starts one of %s beside it", h.Version, core.Version), nil)
	default:
		k.step("hive", fmt.Sprintf("one of version %s runs, %s", h.Version, h.Mode), nil)
	}
}
