package remote

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rbee/core"
)

// A HostKeyError is a host key that known_hosts does not vouch for. The caller
// with a terminal shows the fingerprint and, for an unknown one, appends Line.
type HostKeyError struct {
	Kind        core.Kind // core.HostKeyUnknown or core.HostKeyChanged
	Node        string    // as the person calls the host
	Host        string    // as known_hosts writes it: with [ ]:port if that is not 22
	Fingerprint string    // of the key that was offered: SHA256:…, as ssh-keygen -l prints it
	Known       []string  // fingerprints that known_hosts has, each with its place
	Line        string    // for known_hosts, without newline
}

func (e *HostKeyError) Error() string { return e.fault().What }

// Unwrap gives the fault, with its kind, facts and next step.
func (e *HostKeyError) Unwrap() error { return e.fault() }

func (e *HostKeyError) fault() *core.Fault {
	f := &core.Fault{Kind: e.Kind, Facts: []core.Fact{core.Text("host", e.Host), core.Text("fingerprint", e.Fingerprint)}}
	if e.Kind == core.HostKeyUnknown {
		f.What = fmt.Sprintf("the host key of %s is not known", e.Host)
		f.Facts = append(f.Facts, core.Text(FactLine, e.Line))
		f.Try = fmt.Sprintf("compare the fingerprint with the machine's, then: rbee node check --accept-new %s", e.Node)
		return f
	}
	f.What = fmt.Sprintf("the host key of %s has changed: somebody may be listening, or the machine was set up anew", e.Host)
	if len(e.Known) > 0 {
		f.Facts = append(f.Facts, core.Text("known", strings.Join(e.Known, ", ")))
	}
	f.Try = fmt.Sprintf("if you know why it changed: ssh-keygen -R '%s'", e.Host)
	return f
}

// label is what errors call the node.
func (n Node) label() string { return cmp.Or(n.Alias, n.Host) }

func (n Node) unreachable(err error) error {
	return &core.Fault{
		Kind: core.NodeUnreachable, What: fmt.Sprintf("node %s does not answer at %s: %v", n.label(), n.addr(), err),
		Try: "ssh " + n.label(), Cause: err,
	}
}

func (n Node) authFailed(err error, offered keyring) error {
	tried := strings.Join(n.readableKeys(), ", ")
	f := &core.Fault{
		Kind: core.SSHAuthFailed, What: fmt.Sprintf("node %s refuses the login of %s", n.label(), n.User),
		Facts: []core.Fact{core.Text("keys", cmp.Or(tried, "none")), core.Text("agent", cmp.Or(n.Agent, "none"))},
		Try:   "ssh -v " + n.label() + ", or give the node your key: ssh-copy-id " + n.label(), Cause: err,
	}
	if locked := slices.Sorted(maps.Values(offered.locked)); len(locked) > 0 {
		f.Facts = append(f.Facts, core.Text("locked", strings.Join(locked, ", ")+" (a passphrase, and no agent has the key)"))
		f.Try = "ssh-add " + locked[0]
		if n.Agent == "" {
			f.Try = "eval $(ssh-agent); " + f.Try
		}
	}
	return f
}
