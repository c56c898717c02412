package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"

	"rbee/core"
)

// A Node is a machine that a person has added, the table [node.NAME]. What it
// leaves out is as ~/.ssh/config has it.
type Node struct {
	Host string   `toml:"host"` // or an alias; empty: the node's name
	User string   `toml:"user"`
	Port int      `toml:"port"`
	Keys []string `toml:"keys"` // files
	Jump string   `toml:"jump"` // [user@]host[:port], several with commas between
}

var nodeName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$`)

// CheckNode returns an error unless name may name a node of the config.
func CheckNode(name string) error {
	if name == string(core.Localhost) {
		return &core.Fault{Kind: core.Invalid, What: "localhost is a node already: the queen's own machine"}
	}
	if !nodeName.MatchString(name) {
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("node %q: want letters, digits, dots, dashes and underscores", name), Try: "rbee node add NAME --host USER@HOST"}
	}
	return nil
}

// checkNodes finds what is wrong with the nodes of a file.
func checkNodes(nodes map[string]Node) error {
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		if err := CheckNode(name); err != nil {
			return err
		}
		if p := nodes[name].Port; p < 0 || p > 65535 {
			return fmt.Errorf("node.%s: port %d: want 1 to 65535", name, p)
		}
	}
	return nil
}

// AddNode writes a node into the person's config file, which it makes if need be.
// What else stands there stays as it is; a node of that name is replaced.
func (p Paths) AddNode(name string, n Node) error {
	if err := errors.Join(CheckNode(name), checkNodes(map[string]Node{name: n})); err != nil {
		return err
	}
	return p.edit(func(old string) (string, error) {
		text, _, err := cutNode(old, name)
		if err != nil {
			return "", err
		}
		if text = strings.TrimRight(text, "\n"); text != "" {
			text += "\n\n"
		}
		return text + n.table(name), nil
	})
}

// RemoveNode takes a node out of the person's config file; false when it is not there.
func (p Paths) RemoveNode(name string) (found bool, err error) {
	err = p.edit(func(old string) (text string, err error) {
		text, found, err = cutNode(old, name)
		return text, err
	})
	return found, err
}

// table is the node as TOML.
func (n Node) table(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[node.%s]\n", tomlKey(name))
	text := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s = %s\n", key, tomlString(value))
		}
	}
	text("host", n.Host)
	text("user", n.User)
	if n.Port != 0 {
		fmt.Fprintf(&b, "port = %d\n", n.Port)
	}
	if len(n.Keys) > 0 {
		quoted := make([]string, len(n.Keys))
		for i, k := range n.Keys {
			quoted[i] = tomlString(k)
		}
		fmt.Fprintf(&b, "keys = [%s]\n", strings.Join(quoted, ", "))
	}
	text("jump", n.Jump)
	return b.String()
}

func tomlKey(name string) string {
	if strings.Contains(name, ".") {
		return strconv.Quote(name)
	}
	return name
}

// tomlString quotes a text as TOML does.
func tomlString(s string) string {
	b, err := toml.Marshal(map[string]string{"v": s})
	if err != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSpace(strings.TrimPrefix(string(b), "v = "))
}

// cutNode takes the table of a node out of a text. Comments right above the next
// table belong to that one.
func cutNode(text, name string) (rest string, found bool, err error) {
	before, err := nodesIn(text)
	if err != nil {
		return "", false, err
	}
	if _, found = before[name]; !found {
		return text, false, nil
	}
	lines := strings.SplitAfter(text, "\n")
	begin := slices.IndexFunc(lines, func(l string) bool { return isHeader(l, name) })
	if begin >= 0 {
		end := begin + 1
		for end < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[end]), "[") {
			end++
		}
		for end < len(lines) && end > begin+1 && isRemark(lines[end-1]) {
			end--
		}
		rest = strings.Join(lines[:begin], "") + strings.Join(lines[end:], "")
	}
	// The cut is proven by reading what is left: the other nodes, and no more.
	after, err := nodesIn(rest)
	delete(before, name)
	if begin < 0 || err != nil || !maps.EqualFunc(before, after, equalNodes) {
		return "", true, fmt.Errorf("node %s is not written as a table of its own, [node.%s]: edit the file by hand", name, tomlKey(name))
	}
	return rest, true, nil
}

func equalNodes(a, b Node) bool {
	return a.Host == b.Host && a.User == b.User && a.Port == b.Port && a.Jump == b.Jump && slices.Equal(a.Keys, b.Keys)
}

// isRemark tells whether a line is empty or a comment.
func isRemark(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#'
}

// isHeader tells whether a line begins the table of a node.
func isHeader(line, name string) bool {
	line, _, _ = strings.Cut(line, "#")
	line = strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, line)
	return line == "[node."+name+"]" && !strings.Contains(name, ".") || line == `[node."`+name+`"]` || line == "[node.'"+name+"']"
}

func nodesIn(text string) (map[string]Node, error) {
	var f file
	if err := toml.Unmarshal([]byte(text), &f); err != nil {
		return nil, Locate(err)
	}
	if f.Node == nil {
		f.Node = map[string]Node{}
	}
	return f.Node, nil
}

// edit replaces the person's config file by what change makes of it, whole or not
// at all. A link to a file elsewhere stays one.
func (p Paths) edit(change func(old string) (string, error)) error {
	name := p.Own
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	unlock, err := lock(filepath.Dir(name))
	if err != nil {
		return &core.Fault{Kind: core.Internal, What: fmt.Sprintf("config file: %v", err), Cause: err}
	}
	defer unlock()
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return invalid("config file", err)
	}
	if errors.Is(err, fs.ErrNotExist) && p.Config != "" && p.Config != p.Own {
		return &core.Fault{
			Kind: core.Invalid, What: fmt.Sprintf("the settings of %s would not count any more if there were a %s", p.Config, p.Own),
			Try: fmt.Sprintf("cp %s %s", p.Config, p.Own),
		}
	}
	text, err := change(string(old))
	if err != nil {
		return invalid(name, err)
	}
	if text == string(old) {
		return nil
	}
	if err := replace(name, text); err != nil {
		return &core.Fault{Kind: core.Internal, What: fmt.Sprintf("config file: %v", err), Cause: err}
	}
	return nil
}

// lock waits for the only right to edit files of a directory, which it makes if need
// be. It ends with the process.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		switch err := unix.Flock(int(d.Fd()), unix.LOCK_EX); {
		case err == nil:
			return func() { _ = d.Close() }, nil
		case !errors.Is(err, unix.EINTR):
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), d.Close())
		}
	}
}

// replace writes a file of mode 0600 whole or not at all.
func replace(name, text string) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".config.*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing to remove
	_, err = tmp.WriteString(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}
