package guide

import (
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"rbee/roles/cmdline"
)

// Built returns a function that tells whether a command, as it stands in a help
// text, can be given to this program: the command exists, and has the flags.
// Commands of other programs always can.
func Built(commands []*cli.Command) func(command string) bool {
	return func(command string) bool {
		argv := arguments(command)
		if len(argv) == 0 || !ours.MatchString(argv[0]) {
			return true
		}
		_, err := cmdline.Order(cmdline.SpellOut(argv)[1:], commands)
		return err == nil
	}
}

var (
	ours        = regexp.MustCompile(`^(rbee|rbee-keeper|queen-rbee|rbee-queen|rbee-hive|llm-worker-rbee|rbee-worker)$`)
	environment = regexp.MustCompile(`^[A-Z_]+=`)
	argument    = regexp.MustCompile(`"[^"]*"|\S+`)
)

// arguments splits a command as a shell does, without its environment and
// redirections.
func arguments(command string) []string {
	var out []string
	for _, a := range argument.FindAllString(command, -1) {
		switch {
		case len(out) == 0 && environment.MatchString(a):
		case a == "<" || a == ">" || a == "|" || a == "&":
			return out
		default:
			out = append(out, strings.Trim(a, `"`))
		}
	}
	return out
}
