package keeper

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/alias"
	"rbee/core/config"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

// The scripts that have a shell ask "rbee complete".
var (
	//go:embed completion/rbee.bash
	bashScript string
	//go:embed completion/rbee.zsh
	zshScript string
	//go:embed completion/rbee.fish
	fishScript string
)

func completionCommand() *cli.Command {
	script := func(shell, text, use string) *cli.Command {
		return &cli.Command{Name: shell, Usage: use, Action: func(c *cli.Context) error {
			_, err := fmt.Fprint(c.App.Writer, text)
			return err
		}}
	}
	return &cli.Command{
		Name: "completion", Usage: "the script that lets a shell complete rbee's commands, flags, nodes and models",
		Subcommands: []*cli.Command{
			script("bash", bashScript, "source <(rbee completion bash)"),
			script("zsh", zshScript, "source <(rbee completion zsh)"),
			script("fish", fishScript, "rbee completion fish | source"),
		},
	}
}

// completeCommand is what the scripts ask: it prints what the last of its words may
// become, one a line.
func completeCommand() *cli.Command {
	return &cli.Command{Name: "complete", Hidden: true, ArgsUsage: "-- WORD…", Action: func(c *cli.Context) error {
		settings, err := cmdline.Settings()
		if err != nil {
			return err
		}
		for _, found := range complete(c.Context, c.App.Commands, settings, c.Args().Slice()) {
			if _, err := fmt.Fprintln(c.App.Writer, found); err != nil {
				return err
			}
		}
		return nil
	}}
}

// complete returns what the last word may become: nothing when it is for the shell to
// say, as with files.
func complete(ctx context.Context, commands []*cli.Command, settings config.Settings, words []string) (found []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	typed := words[len(words)-1]
	at := here(commands, words[:len(words)-1])
	for _, candidate := range at.candidates(ctx, settings, typed) {
		if strings.HasPrefix(candidate, typed) {
			found = append(found, candidate)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// A cursor is where on a command line the next word stands.
type cursor struct {
	command *cli.Command
	value   string // of this flag
	args    int    // that stand before it
}

// here follows the words that stand before.
func here(commands []*cli.Command, words []string) cursor {
	at := cursor{command: &cli.Command{Subcommands: commands}}
	for _, w := range words {
		switch {
		case at.value != "":
			at.value = ""
		case strings.HasPrefix(w, "-"):
			at.value = at.wants(w)
		default:
			at.word(w)
		}
	}
	return at
}

// word is a command below, or an argument.
func (at *cursor) word(w string) {
	if at.args == 0 {
		for _, c := range at.command.Subcommands {
			if c.HasName(w) {
				at.command = c
				return
			}
		}
	}
	at.args++
}

// wants is the name of a flag whose value is the next word.
func (at *cursor) wants(w string) string {
	name := strings.TrimLeft(w, "-")
	for _, f := range at.command.Flags {
		if _, isSwitch := f.(*cli.BoolFlag); !isSwitch && slices.Contains(f.Names(), name) {
			return f.Names()[0]
		}
	}
	return ""
}

// candidates are all that may stand there, whatever it begins with.
func (at *cursor) candidates(ctx context.Context, settings config.Settings, typed string) []string {
	switch {
	case at.value == "node":
		return nodeNames(settings)
	case at.value == "model":
		return modelNames(ctx, settings)
	case at.value == "think":
		return []string{"on", "off"}
	case at.value == "from":
		return []string{"huggingface", "ollama", "lmstudio", "all"}
	case at.value != "":
		return nil
	case strings.HasPrefix(typed, "-"):
		return at.flags()
	case at.args == 0 && len(at.command.Subcommands) > 0:
		return below(at.command)
	case strings.Contains(at.command.ArgsUsage, "MODEL"):
		return modelNames(ctx, settings)
	case strings.Contains(at.command.ArgsUsage, "NODE"):
		return nodeNames(settings)
	}
	return nil
}

func (at *cursor) flags() []string {
	list := []string{"--help"}
	for _, f := range at.command.Flags {
		list = append(list, "--"+f.Names()[0])
	}
	return list
}

// below are the commands of a command.
func below(command *cli.Command) (list []string) {
	for _, c := range command.Subcommands {
		if !c.Hidden {
			list = append(list, c.Name)
		}
	}
	return list
}

// nodeNames are the machines that have a name here.
func nodeNames(settings config.Settings) []string {
	list := append([]string{string(core.Localhost)}, slices.Collect(maps.Keys(settings.Nodes))...)
	home, err := os.UserHomeDir()
	if err != nil {
		return list
	}
	return append(list, sshHosts(filepath.Join(home, ".ssh", "config"))...)
}

// sshHosts are the names of an ssh_config, without patterns. Files that it includes
// are not read.
func sshHosts(file string) (list []string) {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.FieldsFunc(lines.Text(), func(r rune) bool { return r == ' ' || r == '\t' || r == '=' })
		if len(words) == 0 || !strings.EqualFold(words[0], "Host") {
			continue
		}
		for _, name := range words[1:] {
			if !strings.ContainsAny(name, "*?!\"") {
				list = append(list, name)
			}
		}
	}
	return list
}

// modelNames are the short names, and what the queen that runs has.
func modelNames(ctx context.Context, settings config.Settings) []string {
	list := []string{string(core.Embedded)}
	if table, err := alias.Load(settings.Paths.Aliases); err == nil {
		for _, a := range table.All() {
			list = append(list, a.Names...)
		}
	}
	token, err := secure.TokenIn(settings.TokenFile)
	if err != nil {
		return list
	}
	const patience = time.Second // of who has pressed a key
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	q := running(ctx, settings, token)
	if q == nil {
		return list
	}
	defer q.Close()
	there, err := q.PoolModels(ctx, "")
	if err != nil {
		return list
	}
	for _, m := range there.Models {
		list = append(list, string(m.Ref))
	}
	return list
}
