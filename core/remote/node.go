package remote

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"

	"rbee/core"
)

// A Node is where and as whom to log in.
type Node struct {
	Alias            string // as the user calls it
	Host, Port, User string
	KeyAlias         string   // HostKeyAlias: under which name known_hosts has the key
	Keys             []string // files; those with a passphrase are the agent's business
	KnownHosts       []string // files; those that do not exist are skipped
	HashHosts        bool     // HashKnownHosts: names are not written in clear
	AcceptNew        bool     // StrictHostKeyChecking accept-new: an unknown key is trusted
	NeverAsk         bool     // StrictHostKeyChecking yes: an unknown key is refused
	Agent            string   // socket; empty: none
	KeysOnly         bool     // IdentitiesOnly: of the agent's keys only those in Keys
	Via              *Node    // ProxyJump: through which node; nil: none
	Proxy            string   // ProxyCommand: a shell command that is the connection; empty: none
}

func (n Node) addr() string { return net.JoinHostPort(n.Host, cmp.Or(n.Port, "22")) }

// String is how a person writes the node: user@host, with the port if it is not 22.
func (n Node) String() string {
	s := n.Host
	if n.Port != "" && n.Port != "22" {
		s = n.addr()
	}
	if n.User != "" {
		s = n.User + "@" + s
	}
	return s
}

// An Entry is what our own config says of a node. What it leaves out is as
// ~/.ssh/config has it for its host.
type Entry struct {
	Host string // or an alias; empty: the node's name
	User string
	Port int
	Keys []string // files, tried first
	Jump string   // [user@]host[:port], several with commas between
}

// maxHops bounds the way to a node: jump hosts may jump themselves.
const maxHops = 8

// Resolve asks the ssh program what alias means, so Include, Match and
// canonical names work as everywhere else. config is "" for the user's own.
func Resolve(ctx context.Context, alias, config string) (Node, error) {
	return Entry{}.Resolve(ctx, alias, config)
}

// Resolve is Resolve for a node of ours: what the entry says goes over what ssh does.
func (e Entry) Resolve(ctx context.Context, name, config string) (Node, error) {
	n, err := resolver{config}.resolve(ctx, name, e, maxHops)
	n.Alias = name
	return n, err
}

// A resolver asks the ssh program.
type resolver struct{ config string }

func (r resolver) resolve(ctx context.Context, name string, e Entry, hops int) (Node, error) {
	if hops == 0 {
		return Node{}, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("node %s: its jump hosts jump on and on", name), Try: "look at ProxyJump in ~/.ssh/config"}
	}
	out, err := r.ask(ctx, cmp.Or(e.Host, name), e)
	if err != nil {
		return Node{}, err
	}
	n, jump := parse(name, out)
	for _, key := range e.Keys {
		n.Keys = append([]string{home(key)}, n.Keys...)
	}
	if jump == "" {
		return n, nil
	}
	n.Via, err = r.chain(ctx, jump, hops-1)
	return n, err
}

// ask runs ssh -G for a host.
func (r resolver) ask(ctx context.Context, host string, e Entry) ([]byte, error) {
	for _, word := range []string{host, e.User, e.Jump} {
		if strings.HasPrefix(word, "-") || strings.ContainsAny(word, " \t\r\n\x00") || host == "" {
			return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("node %q is not a name", cmp.Or(word, host))}
		}
	}
	args := []string{"-G"}
	if r.config != "" {
		args = append(args, "-F", r.config)
	}
	if e.User != "" {
		args = append(args, "-l", e.User)
	}
	if e.Port != 0 {
		args = append(args, "-p", fmt.Sprint(e.Port))
	}
	if e.Jump != "" {
		args = append(args, "-J", e.Jump)
	}
	out, err := exec.CommandContext(ctx, "ssh", append(args, "--", host)...).Output()
	if errors.Is(err, exec.ErrNotFound) {
		return plain(host, e, home("~/.ssh/config"), "/etc/ssh/ssh_config")
	}
	if err != nil {
		return nil, &core.Fault{
			Kind: core.NodeUnreachable, What: fmt.Sprintf("ssh cannot say what node %s is: %v", host, err),
			Facts: said(err), Try: "ssh -G " + host, Cause: err,
		}
	}
	return out, nil
}

// plain is what ssh -G says where nobody has configured anything; for where there is
// no ssh program. One of the configs, which only it understands, is not guessed at.
func plain(host string, e Entry, configs ...string) ([]byte, error) {
	for _, file := range configs {
		if _, err := os.Stat(file); err == nil {
			return nil, &core.Fault{Kind: core.Unsupported, What: fmt.Sprintf("there is no ssh program here, which says what %s means for node %s", file, host), Try: "install the OpenSSH client"}
		}
	}
	name := cmp.Or(e.User, os.Getenv("USER"))
	if me, err := user.Current(); err == nil {
		name = cmp.Or(e.User, me.Username)
	}
	lines := []string{"hostname " + host, "user " + name, fmt.Sprintf("port %d", cmp.Or(e.Port, 22)), "proxyjump " + cmp.Or(e.Jump, "none")}
	for _, key := range []string{"id_rsa", "id_ecdsa", "id_ed25519"} {
		lines = append(lines, "identityfile ~/.ssh/"+key)
	}
	lines = append(lines, "userknownhostsfile ~/.ssh/known_hosts", "globalknownhostsfile /etc/ssh/ssh_known_hosts")
	return []byte(strings.Join(lines, "\n") + "\n"), nil
}

// chain resolves the jump hosts, in the order in which they are passed. As ssh
// does it, only the first may have jump hosts of its own.
func (r resolver) chain(ctx context.Context, jump string, hops int) (via *Node, err error) {
	for hop := range strings.SplitSeq(jump, ",") {
		e, err := hopEntry(hop)
		if err != nil {
			return nil, err
		}
		n, err := r.resolve(ctx, e.Host, e, hops)
		if err != nil {
			return nil, err
		}
		if via != nil {
			n.Via, n.Proxy = via, ""
		}
		via = &n
	}
	return via, nil
}

// hopEntry reads [ssh://][user@]host[:port].
func hopEntry(hop string) (Entry, error) {
	var e Entry
	rest := strings.TrimSuffix(strings.TrimPrefix(hop, "ssh://"), "/")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		e.User, rest = rest[:i], rest[i+1:]
	}
	e.Host = strings.Trim(rest, "[]")
	if host, port, err := net.SplitHostPort(rest); err == nil {
		e.Host = host
		if _, err := fmt.Sscanf(port, "%d", &e.Port); err != nil || e.Port < 1 || e.Port > 65535 {
			return e, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("jump host %q: the port is no number", hop)}
		}
	}
	return e, nil
}

// ParseTarget reads [user@]host[:port], as a person types it.
func ParseTarget(target string) (Entry, error) { return hopEntry(target) }

// said returns what a program wrote on stderr before it failed.
func said(err error) []core.Fact {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return []core.Fact{core.Text("ssh", strings.TrimSpace(string(exit.Stderr)))}
	}
	return nil
}

// parse reads the output of ssh -G: one lower-case key and its value a line.
func parse(alias string, out []byte) (n Node, jump string) {
	n = Node{Alias: alias, Agent: os.Getenv("SSH_AUTH_SOCK")}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), " ")
		switch key {
		case "hostname":
			n.Host = value
		case "port":
			n.Port = value
		case "user":
			n.User = value
		case "hostkeyalias":
			n.KeyAlias = value
		case "identityfile":
			n.Keys = append(n.Keys, home(value))
		case "identitiesonly":
			n.KeysOnly = value == "yes"
		case "userknownhostsfile", "globalknownhostsfile":
			n.addKnownHosts(key, value)
		case "hashknownhosts":
			n.HashHosts = value == "yes"
		case "stricthostkeychecking":
			n.AcceptNew, n.NeverAsk = value == "accept-new", value == "true" || value == "yes"
		case "identityagent":
			n.Agent = socket(value)
		case "proxyjump":
			jump = unlessNone(value)
		case "proxycommand":
			n.Proxy = unlessNone(value)
		}
	}
	return n, jump
}

// addKnownHosts keeps the user's files before those of the system: new keys are
// written to the first.
func (n *Node) addKnownHosts(key, value string) {
	var files []string
	for f := range strings.FieldsSeq(value) {
		files = append(files, home(f))
	}
	if key == "userknownhostsfile" {
		n.KnownHosts = append(files, n.KnownHosts...)
		return
	}
	n.KnownHosts = append(n.KnownHosts, files...)
}

// unlessNone is "" for a value that says so.
func unlessNone(value string) string {
	if value == "none" {
		return ""
	}
	return value
}

// socket returns the agent's socket that an IdentityAgent line means; "" is none.
func socket(value string) string {
	switch name, env := strings.CutPrefix(value, "$"); {
	case value == "none":
		return ""
	case env:
		return os.Getenv(name)
	case value == "SSH_AUTH_SOCK":
		return os.Getenv(value)
	}
	return home(value)
}

func home(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		dir, _ := os.UserHomeDir()
		return filepath.Join(dir, rest)
	}
	return path
}
