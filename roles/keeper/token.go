package keeper

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

func tokenCommand() *cli.Command {
	return &cli.Command{
		Name: "token", Usage: "the secret that callers of your daemons must have",
		Subcommands: []*cli.Command{{
			Name: "new", Usage: "make one, in a file that only you may read; print the file's name",
			Description: "Daemons that are started from then on demand it, and your own commands bring it.\n" +
				"Other programs send it as a bearer token: Authorization: Bearer $(cat FILE).",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "file", Usage: "`FILE` to write, for --token-file, instead of the one that is used by itself"},
				&cli.BoolFlag{Name: "replace", Usage: "the one that is there"},
			},
			Action: newToken,
		}},
	}
}

func newToken(c *cli.Context) error {
	settings, err := cmdline.Settings()
	if err != nil {
		return err
	}
	file, err := filepath.Abs(cmp.Or(c.String("file"), settings.Paths.Token))
	if err != nil {
		return fmt.Errorf("keeper: token: %w", err)
	}
	err = secure.WriteToken(file, c.Bool("replace"))
	switch {
	case errors.Is(err, fs.ErrExist):
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("there is a token in %s already", file), Try: "use it, or make another with --replace", Cause: err}
	case err != nil:
		return &core.Fault{Kind: core.Internal, What: err.Error(), Cause: err}
	}
	if _, err := fmt.Fprintln(c.App.Writer, file); err != nil {
		return err
	}
	if running(c.Context, settings, "") != nil {
		_, _ = fmt.Fprintln(c.App.ErrWriter, "rbee: the queen that runs does not know it before she is started again")
	}
	return nil
}
