package remote_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"rbee/core"
	"rbee/core/lease"
	"rbee/core/remote"
	"rbee/core/remote/sshdtest"
)

// script writes an executable sh script and returns its path.
func script(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// begin starts sh on the node with a program of its own, whose stdin is the lease.
func begin(t *testing.T, c *remote.Conn, program string, boot lease.Boot) *remote.Process {
	t.Helper()
	p, err := c.Start(t.Context(), []string{"sh", "-c", program}, "run-of-test", boot, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Lease.Close() })
	return p
}

func TestFirstLine(t *testing.T) {
	c := dial(t, sshdtest.Start(t).Node)
	tests := map[string]struct {
		program   string
		want      string
		wantError string
	}{
		"spoke and serves":       {`echo '{"port":9200}'; cat >&2`, `{"port":9200}`, ""},
		"spoke and ended":        {"echo one; echo two", "one", ""},
		"in two pieces":          {"printf o; printf 'ne\\ntwo'", "one", ""},
		"an empty line":          {"echo; echo two", "", ""},
		"ended with last words":  {"echo no such flag >&2; exit 2", "", "no such flag"},
		"ended without newline":  {"printf 'port taken' >&2; exit 2", "", "port taken"},
		"ended without a word":   {"exit 7", "", "7"},
		"ended well, said none":  {"exit 0", "", "exit status 0"},
		"a line that never ends": {"printf half; exit 3", "", "3"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := begin(t, c, tt.program, lease.Boot{})
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			got, err := p.FirstLine(ctx)
			if tt.wantError == "" && (err != nil || string(got) != tt.want) {
				t.Errorf("FirstLine: got %q, %v; want %q", got, err, tt.want)
			}
			if tt.wantError != "" && (err == nil || !strings.Contains(err.Error(), tt.wantError)) {
				t.Errorf("FirstLine: got %q, %v; want an error with %q", got, err, tt.wantError)
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		p := begin(t, c, "cat >&2", lease.Boot{})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := p.FirstLine(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("FirstLine: got %v, want the deadline", err)
		}
	})
}

// The program reads the boot line, carries the mark, and sees the lease's end.
func TestStart(t *testing.T) {
	c := dial(t, sshdtest.Start(t).Node)
	p := begin(t, c, `read -r boot; echo "$RBEE_RUN $boot"; cat >/dev/null; echo over >&2; exit 5`, lease.Boot{Node: "mac"})
	got, err := p.FirstLine(t.Context())
	if want := `run-of-test {"boot":{"node":"mac"}}`; err != nil || string(got) != want {
		t.Errorf("the program saw %q, %v; want %q", got, err, want)
	}
	select {
	case <-p.Done():
		t.Fatal("ended before its lease")
	default:
	}
	p.Lease.Close()
	<-p.Done()
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "5") {
		t.Errorf("Err: got %v, want status 5", err)
	}
}

// A program that talks far more than a window of SSH holds does not stand still.
func TestTalkative(t *testing.T) {
	c := dial(t, sshdtest.Start(t).Node)
	p := begin(t, c, "echo up; head -c 6000000 /dev/zero; head -c 6000000 /dev/zero >&2; exit 6", lease.Boot{})
	if _, err := p.FirstLine(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(limit):
		t.Fatal("in 10 s 12 MB were not read")
	}
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "6") {
		t.Errorf("Err: got %v, want status 6", err)
	}
}

// What the user types as an argument arrives as it was typed.
func TestQuoting(t *testing.T) {
	c := dial(t, sshdtest.Start(t).Node)
	for _, arg := range []string{"", "a b", "it's", `back\slash`, `\\'\`, "$HOME `id` $(id)", "* ? ~ # ! ; & |", "ünï\tcode", "-n"} {
		p, err := c.Start(t.Context(), []string{"printf", "%s\n", arg}, "run", lease.Boot{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.FirstLine(t.Context()); err != nil || string(got) != arg {
			t.Errorf("argument: got %q, %v; want %q", got, err, arg)
		}
	}
}

// Over a network that was cut nothing is answered, refused or closed.
func TestCutNetwork(t *testing.T) {
	cut := make(chan struct{})
	c := dial(t, through(t, sshdtest.Start(t), cut, cut))
	close(cut)
	calls := map[string]func(context.Context) error{
		"Probe": func(ctx context.Context) error { _, err := c.Probe(ctx); return err },
		"Provide": func(ctx context.Context) error {
			_, err := c.Provide(ctx, remote.Facts{OS: runtime.GOOS, Arch: runtime.GOARCH, Loaders: loaders()}, remote.Pushing{})
			return err
		},
		"Kill": func(ctx context.Context) error { _, err := c.Kill(ctx, "rbee", lease.Proc{PID: 1}); return err },
		"Dial": func(ctx context.Context) error { _, err := c.DialContext(ctx, "tcp", "127.0.0.1:1"); return err },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			returned := make(chan error, 1)
			go func() { returned <- call(ctx) }()
			select {
			case err := <-returned:
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want the deadline", err)
				}
			case <-time.After(limit):
				t.Fatal("in 10 s it did not return")
			}
		})
	}
}

// Kill runs our program on the node, which alone may compare the start time.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	c := dial(t, sshdtest.Start(t).Node)
	said := filepath.Join(dir, "said")
	exe := script(t, filepath.Join(dir, "with space", "rbee"), `echo "$@" > '`+said+`'`)
	if _, err := c.Kill(t.Context(), exe, lease.Proc{PID: 12, Started: 345}); err != nil {
		t.Errorf("Kill: %v", err)
	}
	if got, _ := os.ReadFile(said); string(got) != "hive stop --pid 12 --started 345\n" {
		t.Errorf("the node's program was called with %q", got)
	}
	refuse := script(t, filepath.Join(dir, "refuse"), "echo not permitted >&2; exit 1")
	if _, err := c.Kill(t.Context(), refuse, lease.Proc{PID: 12}); err == nil || !strings.Contains(err.Error(), "not permitted") {
		t.Errorf("Kill: got %v, want the node's own words", err)
	}
}

// A node that does not answer is tried again, each time announced; one that
// refuses a key is not.
func TestDialRetry(t *testing.T) {
	s := sshdtest.Start(t)
	wrong := s.Node
	wrong.Keys = nil
	away := s.Node
	away.Port = "1"
	tests := map[string]struct {
		node      remote.Node
		want      error
		announced int
	}{
		"answers": {s.Node, nil, 0}, "wrong key": {wrong, core.SSHAuthFailed, 0}, "away": {away, core.NodeUnreachable, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := 0
			pauses := []time.Duration{0, 2 * time.Millisecond, 4 * time.Millisecond}
			c, err := remote.DialRetry(t.Context(), tt.node, limit, pauses, func(error) { n++ })
			if !errors.Is(err, tt.want) || n != tt.announced {
				t.Errorf("DialRetry: got %v after %d announcements, want %v after %d", err, n, tt.want, tt.announced)
			}
			if c != nil {
				c.Close()
			}
		})
	}
	t.Run("comes back", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0") // reserves a port, then nobody is there
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		node := s.Node
		node.Host, node.Port, _ = net.SplitHostPort(ln.Addr().String())
		node.KeyAlias = ""
		ln.Close()
		if _, err := remote.DialRetry(ctx, node, limit, []time.Duration{time.Hour}, func(error) { cancel() }); !errors.Is(err, core.NodeUnreachable) {
			t.Errorf("given up: got %v, want the last failure at once", err)
		}
	})
}

// Every error of a login names what to do next, and none a key's content.
func TestFaultsSayWhatNext(t *testing.T) {
	s := sshdtest.Start(t)
	n := s.Node
	n.Alias, n.Keys = "mac", []string{filepath.Join(s.Dir, "host")} // a key the node does not know
	_, err := remote.Dial(t.Context(), n, limit)
	fault, ok := errors.AsType[*core.Fault](err)
	if !ok || !strings.Contains(fault.Try, "ssh -v mac") {
		t.Fatalf("wrong key: got %v, want a fault with ssh -v mac", err)
	}
	var facts strings.Builder
	for _, f := range fault.Facts {
		facts.WriteString(f.Name + " " + f.Value + "\n")
	}
	if !strings.Contains(facts.String(), n.Keys[0]) {
		t.Errorf("facts: got %s, want the key file %s", facts.String(), n.Keys[0])
	}
	private, _ := os.ReadFile(n.Keys[0])
	if line := bytes.Split(private, []byte("\n"))[1]; strings.Contains(facts.String()+fault.What, string(line)) {
		t.Error("a private key stands in an error")
	}
}
