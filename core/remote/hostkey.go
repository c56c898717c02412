package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"rbee/core"
)

// FactLine is the fact of HOST_KEY_UNKNOWN that holds the line for known_hosts.
const FactLine = "known_hosts"

// UnknownKey returns what an error says of a host key that nobody vouches for, be
// it ours or one that came over the wire; false for any other error.
func UnknownKey(err error) (HostKeyError, bool) {
	if !errors.Is(err, core.HostKeyUnknown) {
		return HostKeyError{}, false
	}
	e := HostKeyError{Kind: core.HostKeyUnknown}
	for _, fact := range core.FaultOf(err).Facts {
		switch fact.Name {
		case "host":
			e.Host = fact.Value
		case "fingerprint":
			e.Fingerprint = fact.Value
		case FactLine:
			e.Line = fact.Value
		}
	}
	return e, e.Host != "" && e.Line != ""
}

// KeyType is the kind of key that was offered, such as ED25519.
func (e *HostKeyError) KeyType() string {
	if f := strings.Fields(e.Line); len(f) > 1 {
		return strings.ToUpper(strings.TrimPrefix(f[1], "ssh-"))
	}
	return "host"
}

// Trust writes an unknown key into known_hosts: into the file of that host on the
// way to n whose key it is. The line must hold the key whose fingerprint was shown.
func (n Node) Trust(e HostKeyError) error {
	for hop := &n; hop != nil; hop = hop.Via {
		if xknownhosts.Normalize(hop.name()) == e.Host {
			return hop.remember(e)
		}
	}
	return &core.Fault{Kind: core.HostKeyUnknown, What: fmt.Sprintf("%s is no host on the way to node %s as ssh resolves it here", e.Host, n.label()), Try: "ssh " + n.label()}
}

func (n Node) remember(e HostKeyError) error {
	_, hosts, key, _, _, err := ssh.ParseKnownHosts([]byte(e.Line))
	if err != nil || len(hosts) != 1 || hosts[0] != e.Host || ssh.FingerprintSHA256(key) != e.Fingerprint {
		return &core.Fault{Kind: core.Internal, What: fmt.Sprintf("the line for known_hosts is not the key %s of %s", e.Fingerprint, e.Host), Cause: err}
	}
	if len(n.KnownHosts) == 0 || n.KnownHosts[0] == "/dev/null" {
		return &core.Fault{Kind: core.Unsupported, What: fmt.Sprintf("node %s has no known_hosts file to write to", n.label()), Try: "look at UserKnownHostsFile in ~/.ssh/config"}
	}
	line := e.Line
	if n.HashHosts {
		line = xknownhosts.HashHostname(e.Host) + strings.TrimPrefix(line, e.Host)
	}
	if err := appendLine(n.KnownHosts[0], line); err != nil {
		return &core.Fault{Kind: core.Internal, What: fmt.Sprintf("known_hosts: %v", err), Cause: err}
	}
	return nil
}

// appendLine adds a line to a file, in one write, and makes the file if need be.
func appendLine(file, line string) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(old) > 0 && !bytes.HasSuffix(old, []byte("\n")) {
		line = "\n" + line
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}
