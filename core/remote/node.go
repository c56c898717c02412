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
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"rbee/core"
)

// A Node is where and as whom to log in.
type Node struct {
	Alias            string // as the user calls it
	Host, Port, User string
	KeyAlias         string   // HostKeyAlias: under which name known_hosts has the key
	Keys             []string // files; those with a passphrase are the agent's business
	KnownHosts       []string // files; those that do not exist are skipped
	Agent            string   // socket; empty: none
	KeysOnly         bool     // IdentitiesOnly: of the agent's keys only those in Keys
}

func (n Node) addr() string { return net.JoinHostPort(n.Host, cmp.Or(n.Port, "22")) }

// Resolve asks the ssh program what alias means, so Include, Match and
// canonical names work as everywhere else. config is "" for the user's own.
func Resolve(ctx context.Context, alias, config string) (Node, error) {
	if alias == "" || alias[0] == '-' || strings.ContainsAny(alias, " \t\r\n\x00") {
		return Node{}, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("node %q is not a name", alias)}
	}
	args := []string{"-G"}
	if config != "" {
		args = append(args, "-F", config)
	}
	out, err := exec.CommandContext(ctx, "ssh", append(args, "--", alias)...).Output()
	if err != nil {
		return Node{}, &core.Fault{
			Kind: core.NodeUnreachable, What: fmt.Sprintf("ssh cannot say what node %s is: %v", alias, err),
			Facts: said(err), Try: "ssh -G " + alias, Cause: err,
		}
	}
	return parse(alias, out)
}

// said returns what a program wrote on stderr before it failed.
func said(err error) []core.Fact {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return []core.Fact{core.Text("ssh", strings.TrimSpace(string(exit.Stderr)))}
	}
	return nil
}

// parse reads the output of ssh -G: one lower-case key and its value a line.
func parse(alias string, out []byte) (Node, error) {
	n := Node{Alias: alias, Agent: os.Getenv("SSH_AUTH_SOCK")}
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
			for f := range strings.FieldsSeq(value) {
				n.KnownHosts = append(n.KnownHosts, home(f))
			}
		case "identityagent":
			n.Agent = socket(value)
		case "proxyjump", "proxycommand":
			if value != "none" {
				return Node{}, &core.Fault{
					Kind: core.Unsupported, What: fmt.Sprintf("node %s is reached through %s, which is not supported yet", alias, key),
				}
			}
		}
	}
	return n, nil
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

// signers returns the keys to offer. All of them are one AuthMethod: of several
// of the same kind x/crypto tries only the first.
func (n Node) signers(ctx context.Context) (keys []ssh.Signer, done func(), err error) {
	listed := map[string]bool{}
	for _, f := range n.Keys {
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("remote: key: %w", err)
		}
		if pub, err := os.ReadFile(f + ".pub"); err == nil {
			if k, _, _, _, err := ssh.ParseAuthorizedKey(pub); err == nil {
				listed[string(k.Marshal())] = true
			}
		}
		if k, err := ssh.ParsePrivateKey(b); err == nil {
			keys = append(keys, k)
		}
	}
	held, done := n.agentKeys(ctx)
	for _, k := range held {
		if !n.KeysOnly || listed[string(k.PublicKey().Marshal())] {
			keys = append(keys, k)
		}
	}
	return keys, done, nil
}

// readableKeys returns the key files that are there.
func (n Node) readableKeys() (files []string) {
	for _, f := range n.Keys {
		if _, err := os.Stat(f); err == nil {
			files = append(files, f)
		}
	}
	return files
}

// agentKeys returns the agent's keys, none when there is no agent. They sign
// until done, or until ctx is: an agent may accept and say nothing.
func (n Node) agentKeys(ctx context.Context) (keys []ssh.Signer, done func()) {
	if n.Agent == "" {
		return nil, func() {}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", n.Agent)
	if err != nil {
		return nil, func() {}
	}
	cut := context.AfterFunc(ctx, func() { conn.Close() })
	keys, _ = agent.NewClient(conn).Signers()
	return keys, func() { cut(); conn.Close() }
}
