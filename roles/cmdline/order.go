// Package cmdline is what the command lines of all roles share: the order of
// arguments, errors of usage, and how a daemon begins and ends.
package cmdline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"rbee/core"
)

// Order turns the arguments behind the program's name into a form that cli
// takes as people mean it: flags may follow arguments, "--" ends them. It returns
// the path of commands, then the flags, then "--" and the arguments. What no
// command or flag is, is a fault that names the nearest one. A command takes
// arguments when it has an ArgsUsage.
func Order(args []string, commands []*cli.Command) ([]string, error) {
	o := &order{here: &cli.Command{Subcommands: commands}}
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			o.args = append(o.args, args[i+1:]...)
			return o.result()
		case len(a) > 1 && a[0] == '-':
			n, err := o.flag(a, args[i+1:])
			if err != nil {
				return nil, err
			}
			i += n
		default:
			if err := o.word(a); err != nil {
				return nil, err
			}
		}
	}
	return o.result()
}

type order struct {
	here  *cli.Command
	path  []string
	flags []string
	args  []string
}

func (o *order) result() ([]string, error) {
	out := append(slices.Clone(o.path), o.flags...)
	if len(o.args) > 0 {
		out = append(append(out, "--"), o.args...)
	}
	return out, nil
}

// word is a command as long as there are any to choose from, else an argument.
func (o *order) word(a string) error {
	if sub := find(o.here.Subcommands, a); sub != nil && len(o.args) == 0 {
		o.here, o.path = sub, append(o.path, a)
		return nil
	}
	if a == "help" && len(o.args) == 0 && len(o.here.Subcommands) > 0 {
		o.flags = append(o.flags, "--help")
		return nil
	}
	if o.here.ArgsUsage != "" {
		o.args = append(o.args, a)
		return nil
	}
	if len(o.here.Subcommands) == 0 {
		return o.usage(fmt.Sprintf("%s takes no arguments, found %q", o.name(), a), "")
	}
	var names []string
	for _, c := range o.here.Subcommands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return o.usage(fmt.Sprintf("unknown command %q", a), o.name()+" "+nearest(a, names))
}

// flag reads a flag and returns how many of the following arguments are its value.
func (o *order) flag(a string, rest []string) (int, error) {
	name, _, has := strings.Cut(strings.TrimLeft(a, "-"), "=")
	f := o.lookup(name)
	switch {
	case f == nil:
		return 0, o.usage(fmt.Sprintf("unknown flag %s", strings.SplitN(a, "=", 2)[0]), o.name()+" --"+nearest(name, o.known()))
	case has || isSwitch(f):
		o.flags = append(o.flags, a)
		return 0, nil
	case len(rest) == 0:
		return 0, o.usage(fmt.Sprintf("flag --%s needs a value", name), "")
	}
	o.flags = append(o.flags, a, rest[0])
	return 1, nil
}

func (o *order) lookup(name string) cli.Flag {
	if name == "help" || name == "h" {
		return cli.HelpFlag
	}
	for _, f := range o.here.Flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func (o *order) known() (names []string) {
	for _, f := range o.here.Flags {
		names = append(names, f.Names()[0])
	}
	return append(names, "help")
}

func (o *order) name() string { return strings.Join(append([]string{"rbee"}, o.path...), " ") }

func (o *order) usage(what, try string) error {
	if try == "" {
		try = o.name() + " --help"
	}
	return &core.Fault{Kind: core.Invalid, What: what, Try: try}
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

func isSwitch(f cli.Flag) bool {
	_, ok := f.(*cli.BoolFlag)
	return ok
}

// nearest returns the name with the fewest changes from what was typed.
func nearest(typed string, names []string) string {
	return append(core.Nearest(typed, names, 1), "help")[0]
}
