package remote_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rbee/core"
	"rbee/core/remote"
	"rbee/core/remote/sshdtest"
)

// config writes an ssh_config and returns its path.
func config(t *testing.T, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ssh_config")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// host is a Host of an ssh_config for a node.
func host(alias string, s *sshdtest.Server, more ...string) string {
	return strings.Join(append([]string{
		"Host " + alias, "HostName " + s.Node.Host, "Port " + s.Node.Port, "User " + s.Node.User, "IdentityFile " + s.Node.Keys[0],
		"IdentitiesOnly yes", "IdentityAgent none", "UserKnownHostsFile " + s.Node.KnownHosts[0], "GlobalKnownHostsFile /dev/null",
	}, more...), "\n")
}

// says dials and runs a program there.
func says(t *testing.T, n remote.Node) {
	t.Helper()
	if out, err := dial(t, n).Output(t.Context(), []string{"echo", "here"}); err != nil || string(out) != "here\n" {
		t.Errorf("Output: %q, %v", out, err)
	}
}

func TestProxyJump(t *testing.T) {
	first, second, last := sshdtest.Start(t), sshdtest.Start(t), sshdtest.Start(t)
	port := func(s *sshdtest.Server) string { return net.JoinHostPort(s.Node.Host, s.Node.Port) }
	file := config(
		t, host("first", first), host("second", second), host("chained", second, "ProxyJump first"),
		host("one", last, "ProxyJump first"), host("two", last, "ProxyJump first,second"), host("own", last, "ProxyJump chained"),
		host("loop", last, "ProxyJump loop"), host("none", last, "ProxyJump none"),
	)
	tests := map[string]struct {
		way  []string // the hosts on the way, the last first
		want core.Kind
	}{
		"one":  {[]string{port(last), port(first)}, ""},
		"two":  {[]string{port(last), port(second), port(first)}, ""},
		"own":  {[]string{port(last), port(second), port(first)}, ""},
		"none": {[]string{port(last)}, ""},
		"loop": {nil, core.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n, err := remote.Resolve(t.Context(), name, file)
			if tt.want != "" {
				if !errors.Is(err, tt.want) {
					t.Errorf("Resolve: got %v, want %v", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var way []string
			for hop := &n; hop != nil; hop = hop.Via {
				way = append(way, net.JoinHostPort(hop.Host, hop.Port))
			}
			if fmt.Sprint(way) != fmt.Sprint(tt.way) {
				t.Errorf("way: got %v, want %v", way, tt.way)
			}
			says(t, n)
		})
	}
}

// Without an ssh program a node is what it says itself; a config is not guessed at.
func TestResolveWithoutSSH(t *testing.T) {
	s := sshdtest.Start(t)
	port, err := strconv.Atoi(s.Node.Port)
	if err != nil {
		t.Fatal(err)
	}
	e := remote.Entry{User: s.Node.User, Port: port}
	if _, err := remote.Plain(s.Node.Host, e, s.Config()); !errors.Is(err, core.Unsupported) || !strings.Contains(err.Error(), s.Config()) {
		t.Errorf("with a config: %v", err)
	}
	n, err := remote.Plain(s.Node.Host, e, filepath.Join(t.TempDir(), "none"))
	if err != nil || len(n.Keys) != 3 || len(n.KnownHosts) != 2 {
		t.Fatalf("without one: %+v, %v", n, err)
	}
	n.Keys, n.KnownHosts = s.Node.Keys, s.Node.KnownHosts
	says(t, n)
}

// What is wrong on the way names the host that is to blame.
func TestJumpErrors(t *testing.T) {
	jump, closed, last := sshdtest.Start(t), sshdtest.Start(t, "AllowTcpForwarding no"), sshdtest.Start(t)
	tests := map[string]struct {
		change func(n, via *remote.Node)
		want   core.Kind
		names  string
	}{
		"jump host unknown":   {func(_, via *remote.Node) { via.KnownHosts = nil }, core.HostKeyUnknown, jump.Node.Port},
		"last host unknown":   {func(n, _ *remote.Node) { n.KnownHosts = nil }, core.HostKeyUnknown, last.Node.Port},
		"jump host refuses":   {func(_, via *remote.Node) { via.Keys = nil }, core.SSHAuthFailed, "bastion"},
		"nobody listens":      {func(n, _ *remote.Node) { n.Port = "1" }, core.NodeUnreachable, "node mac"},
		"forwarding is off":   {func(_, via *remote.Node) { *via = closed.Node; via.Alias = "bastion" }, core.ForwardingForbidden, "bastion"},
		"jump host not there": {func(_, via *remote.Node) { via.Port = "1" }, core.NodeUnreachable, "bastion"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n, via := last.Node, jump.Node
			n.Alias, via.Alias, n.Via = "mac", "bastion", &via
			tt.change(&n, &via)
			_, err := remote.Dial(t.Context(), n, limit)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.names) {
				t.Errorf("Dial: got %v, want %v that names %q", err, tt.want, tt.names)
			}
		})
	}
}

// The end of a connection through a jump host ends the one to the jump host.
func TestJumpCloses(t *testing.T) {
	jump, last := sshdtest.Start(t), sshdtest.Start(t)
	n := last.Node
	n.Via = &jump.Node
	c, err := remote.Dial(t.Context(), n, limit)
	if err != nil {
		t.Fatal(err)
	}
	if jump.Live() != 1 || last.Live() != 1 {
		t.Errorf("connections: %d to the jump host, %d to the node", jump.Live(), last.Live())
	}
	c.Close()
	eventually(t, "both have ended", func() bool { return jump.Live() == 0 && last.Live() == 0 })
}

func TestProxyCommand(t *testing.T) {
	s := sshdtest.Start(t)
	relay := fmt.Sprintf("ssh -F %s -W %%h:%%p node", s.Config())
	file := config(
		t, host("good", s, "ProxyCommand "+relay), host("bad", s, "ProxyCommand echo no way there >&2; exit 1"),
		host("silent", s, "ProxyCommand sleep 1000"),
	)
	good, err := remote.Resolve(t.Context(), "good", file)
	if err != nil {
		t.Fatal(err)
	}
	says(t, good)
	bad, err := remote.Resolve(t.Context(), "bad", file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = remote.Dial(t.Context(), bad, limit)
	if facts := fmt.Sprint(core.FaultOf(err).Facts); !errors.Is(err, core.NodeUnreachable) || !strings.Contains(facts, "no way there") {
		t.Errorf("Dial: got %v, facts %s", err, facts)
	}
}

// A ProxyCommand and what it has started end with the connection.
func TestProxyCommandEnds(t *testing.T) {
	s := sshdtest.Start(t)
	n, pids := s.Node, filepath.Join(t.TempDir(), "pids")
	n.Proxy = fmt.Sprintf("sh -c 'sleep 1000 & echo $! >%s; exec ssh -F %s -W %%h:%%p node'", pids, s.Config())
	c, err := remote.Dial(t.Context(), n, limit)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	proc := "/proc/" + strings.TrimSpace(string(pid))
	if _, err := os.Stat(proc); err != nil {
		t.Errorf("while connected: %v", err)
	}
	c.Close()
	eventually(t, "what it started is gone", func() bool {
		stat, err := os.ReadFile(proc + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ") // nobody may reap it here
	})
}

// A key with a passphrase works by the agent, and without one the error says what to do.
func TestLockedKey(t *testing.T) {
	s := sshdtest.Start(t)
	n := s.Node
	if out, err := exec.Command("ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", n.Keys[0]).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, err := remote.Dial(t.Context(), n, limit)
	f := core.FaultOf(err)
	if !errors.Is(err, core.SSHAuthFailed) || !strings.Contains(f.Try, "ssh-add "+n.Keys[0]) || !strings.Contains(fmt.Sprint(f.Facts), "passphrase") {
		t.Errorf("Dial: got %v, facts %v, try %q", err, f.Facts, f.Try)
	}
	n.Agent = agent(t)
	add := exec.Command("ssh-add", n.Keys[0])
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+n.Agent, "SSH_ASKPASS="+script(t, filepath.Join(t.TempDir(), "askpass"), "echo secret"), "SSH_ASKPASS_REQUIRE=force")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("ssh-add: %v: %s", err, out)
	}
	n.KeysOnly = true
	says(t, n)
}

// agent runs an ssh-agent and returns its socket.
func agent(t *testing.T) string {
	t.Helper()
	sock := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("ssh-agent", "-D", "-a", sock)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(t, "the agent listens", func() bool { _, err := os.Stat(sock); return err == nil })
	return sock
}

// A key is offered once, and of several the one that fits is found.
func TestSeveralKeys(t *testing.T) {
	s := sshdtest.Start(t, "MaxAuthTries 4")
	n := s.Node
	for i := range 2 {
		key := filepath.Join(t.TempDir(), "key")
		if err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).Run(); err != nil {
			t.Fatal(i, err)
		}
		n.Keys = append([]string{key, key, key}, n.Keys...)
	}
	says(t, n)
}

// A key that the person trusts is written where the host's keys are looked for.
func TestTrust(t *testing.T) {
	jump, last := sshdtest.Start(t), sshdtest.Start(t)
	for name, hashed := range map[string]bool{"plain": false, "hashed": true} {
		t.Run(name, func(t *testing.T) {
			n, via, dir := last.Node, jump.Node, t.TempDir()
			n.Via = &via
			via.KnownHosts, n.KnownHosts = []string{filepath.Join(dir, "new", "jump")}, []string{filepath.Join(dir, "last")}
			via.HashHosts, n.HashHosts = hashed, hashed
			if err := os.WriteFile(n.KnownHosts[0], []byte("# no newline at the end"), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, err := remote.Dial(t.Context(), n, limit)
				key, ok := remote.UnknownKey(err)
				if !ok {
					t.Fatalf("Dial: got %v, want an unknown key", err)
				}
				lie := key
				lie.Fingerprint = "SHA256:other"
				if err := n.Trust(lie); err == nil {
					t.Error("a line of another key than the one shown was written")
				}
				if err := n.Trust(key); err != nil {
					t.Fatal(err)
				}
			}
			says(t, n)
			b, err := os.ReadFile(n.KnownHosts[0])
			if err != nil || strings.Contains(string(b), "127.0.0.1") == hashed {
				t.Errorf("known_hosts: %q, %v", b, err)
			}
		})
	}
}

func TestTrustForeign(t *testing.T) {
	s, other := sshdtest.Start(t), sshdtest.Start(t)
	n := other.Node
	n.KnownHosts = nil
	_, err := remote.Dial(t.Context(), n, limit)
	key, ok := remote.UnknownKey(err)
	if !ok {
		t.Fatal(err)
	}
	if err := s.Node.Trust(key); err == nil {
		t.Error("the key of another host was written")
	}
}

func TestChangedKey(t *testing.T) {
	s, other := sshdtest.Start(t), sshdtest.Start(t)
	n := s.Node
	n.KnownHosts = []string{relabel(t, other, net.JoinHostPort(other.Node.Host, other.Node.Port), net.JoinHostPort(n.Host, n.Port))}
	_, err := remote.Dial(t.Context(), n, limit)
	key, ok := errors.AsType[*remote.HostKeyError](err)
	if !ok || key.Kind != core.HostKeyChanged || len(key.Known) != 1 {
		t.Fatalf("Dial: %v", err)
	}
	facts := fmt.Sprint(core.FaultOf(err).Facts)
	for _, want := range []string{fingerprint(t, s), fingerprint(t, other)} {
		if !strings.Contains(facts, want) {
			t.Errorf("facts %s: want %s", facts, want)
		}
	}
	remove, _ := strings.CutPrefix(core.FaultOf(err).Try, "if you know why it changed: ")
	if out, err := exec.Command("sh", "-c", remove+" -f "+n.KnownHosts[0]).CombinedOutput(); err != nil || !strings.Contains(string(out), "updated") {
		t.Errorf("%s: %v: %s", remove, err, out)
	}
}

// fingerprint is that of a node's key, as ssh-keygen prints it.
func fingerprint(t *testing.T, s *sshdtest.Server) string {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-lf", filepath.Join(s.Dir, "host.pub")).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))[1]
}
