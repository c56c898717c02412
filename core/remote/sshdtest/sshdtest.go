// Package sshdtest runs the system's own sshd for a test: host key, config and
// port of its own, logging in the user who runs the test, root or not.
package sshdtest

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rbee/core/remote"
)

// A Server is one node.
type Server struct {
	Dir  string // host, host.pub, user, known_hosts, ssh_config (alias "node"), log
	Node remote.Node

	config string
	wg     sync.WaitGroup
	live   atomic.Int64
}

// Start starts a node. Each option is a line of sshd_config.
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	need(t)
	s := &Server{Dir: t.TempDir()}
	me, err := user.Current()
	must(t, err)
	for _, key := range []string{"host", "user"} {
		must(t, exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path(key)).Run())
	}
	s.config = s.write(t, "sshd_config", append(options,
		"HostKey "+s.path("host"), "AuthorizedKeysFile "+s.path("user.pub"), "PidFile none", "UsePAM no",
		"StrictModes no", "PasswordAuthentication no", "PermitRootLogin prohibit-password")...)
	if os.Getuid() == 0 {
		must(t, os.MkdirAll("/run/sshd", 0o755)) // where sshd shuts away its unprivileged half
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	host, port, _ := net.SplitHostPort(ln.Addr().String())
	pub, err := os.ReadFile(s.path("host.pub"))
	must(t, err)
	s.Node = remote.Node{
		Host: host, Port: port, User: me.Username, Keys: []string{s.path("user")},
		KnownHosts: []string{s.write(t, "known_hosts", fmt.Sprintf("[%s]:%s %s", host, port, pub))},
	}
	s.write(t, "ssh_config", "Host node", "HostName "+host, "Port "+port, "User "+me.Username,
		"IdentityFile "+s.path("user"), "IdentitiesOnly yes", "IdentityAgent none",
		"UserKnownHostsFile "+s.path("known_hosts"), "GlobalKnownHostsFile /dev/null", "Match final", "Compression no")
	s.wg.Go(func() { s.serve(ln) })
	t.Cleanup(func() { ln.Close(); s.wg.Wait() })
	return s
}

// need skips a test where there is no sshd, unless everything must be run.
func need(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("sshd")
	if _, there := os.Stat("/usr/sbin/sshd"); err == nil || there == nil {
		return
	}
	if os.Getenv("RBEE_TEST_ALL") == "1" {
		t.Fatal("no sshd here: install the package openssh-server")
	}
	t.Skip("no sshd here: install the package openssh-server")
}

// serve gives every connection an sshd of its own, as inetd would: there is no
// port to wait for and none to lose. Each ends with its connection.
func (s *Server) serve(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		f, err := conn.(*net.TCPConn).File()
		conn.Close()
		if err != nil {
			continue
		}
		sshd, _ := exec.LookPath("sshd")
		cmd := exec.Command(cmp.Or(sshd, "/usr/sbin/sshd"), "-i", "-f", s.config, "-E", s.path("log"))
		cmd.Stdin, cmd.Stdout = f, f
		if cmd.Start() == nil {
			s.live.Add(1)
			s.wg.Go(func() { _ = cmd.Wait(); s.live.Add(-1) })
		}
		f.Close()
	}
}

func (s *Server) path(name string) string { return filepath.Join(s.Dir, name) }

func (s *Server) write(t testing.TB, name string, lines ...string) string {
	t.Helper()
	must(t, os.WriteFile(s.path(name), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	return s.path(name)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Config is an ssh_config with the alias "node".
func (s *Server) Config() string { return s.path("ssh_config") }

// Live is how many connections there are.
func (s *Server) Live() int { return int(s.live.Load()) }
