package keeper

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"rbee/core"
)

func installCommand() *cli.Command {
	return &cli.Command{
		Name: "install", Usage: "put this program and the names of its roles into a directory",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` (default: ~/.local/bin)"},
			&cli.BoolFlag{Name: "service", Usage: "also write systemd user units for a queen and a hive"},
		},
		Action: install,
	}
}

// names are the links to the program.
var names = []string{"rbee-keeper", "queen-rbee", "rbee-hive", "llm-worker-rbee"}

func install(c *cli.Context) error {
	home, err := os.UserHomeDir()
	if err != nil {
		return fmt.Errorf("keeper: install: %w", err)
	}
	dir := filepath.Join(home, ".local", "bin")
	if c.IsSet("dir") {
		if dir, err = filepath.Abs(c.String("dir")); err != nil {
			return fmt.Errorf("keeper: install: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &core.Fault{Kind: core.Invalid, What: err.Error(), Cause: err}
	}
	if err := copySelf(filepath.Join(dir, "rbee")); err != nil {
		return &core.Fault{Kind: core.Internal, What: fmt.Sprintf("install into %s: %v", dir, err), Try: "rbee install --dir DIRECTORY", Cause: err}
	}
	for _, name := range names {
		if err := link("rbee", filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("keeper: install: %w", err)
		}
	}
	_, _ = fmt.Fprintf(c.App.Writer, "rbee %s is in %s, with the names %s\n", core.Version, dir, strings.Join(names, ", "))
	if !slices.Contains(filepath.SplitList(os.Getenv("PATH")), dir) {
		_, _ = fmt.Fprintf(c.App.ErrWriter, "rbee: %s is not in your PATH; for this shell: export PATH=%q:$PATH\n", dir, dir)
	}
	if c.Bool("service") {
		return units(c, home, dir)
	}
	return nil
}

// copySelf copies this program to a path, whole or not at all.
func copySelf(to string) error {
	from, err := os.Open("/proc/self/exe")
	if errors.Is(err, fs.ErrNotExist) {
		exe, xerr := os.Executable()
		if xerr != nil {
			return xerr
		}
		from, err = os.Open(exe)
	}
	if err != nil {
		return err
	}
	defer from.Close()
	a, err := from.Stat()
	if err != nil {
		return err
	}
	if b, err := os.Stat(to); err == nil && os.SameFile(a, b) {
		return nil // it runs from there
	}
	tmp, err := os.CreateTemp(filepath.Dir(to), ".rbee.*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing to remove
	_, err = io.Copy(tmp, from)
	if err := errors.Join(err, tmp.Chmod(0o755), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}

// link makes a symbolic link, in the place of an older one.
func link(target, at string) error {
	if old, err := os.Readlink(at); err == nil && old == target {
		return nil
	}
	tmp := at + ".new"
	_ = os.Remove(tmp) // of a run that was broken off
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, at)
}

// units writes the systemd user units.
func units(c *cli.Context, home, dir string) error {
	at := filepath.Join(home, ".config", "systemd", "user")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return fmt.Errorf("keeper: install: %w", err)
	}
	for name, what := range map[string]string{"queen-rbee": "rbee queen", "rbee-hive": "rbee hive"} {
		unit := fmt.Sprintf("[Unit]\nDescription=%s\n\n[Service]\nExecStart=%s daemon\nSuccessExitStatus=143\nRestart=on-failure\n\n[Install]\nWantedBy=default.target\n",
			what, filepath.Join(dir, name))
		if err := os.WriteFile(filepath.Join(at, name+".service"), []byte(unit), 0o644); err != nil {
			return fmt.Errorf("keeper: install: %w", err)
		}
	}
	_, err := fmt.Fprintf(c.App.Writer, "units are in %s; to start one: systemctl --user enable --now rbee-hive\n", at)
	return err
}
