package cmdline

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// Help does not name a default that is nothing: "(default: false)" tells nobody anything,
// and 0 often stands for a default that the flag's own words name.
func init() {
	whole := cli.FlagStringer
	nothing := strings.NewReplacer(" (default: false)", "", " (default: 0)", "", " (default: 0s)", "")
	cli.FlagStringer = func(f cli.Flag) string { return nothing.Replace(whole(f)) }
}
