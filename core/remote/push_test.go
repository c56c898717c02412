package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"rbee/core"
	"rbee/core/remote"
	"rbee/core/remote/sshdtest"
)

// TestMain makes the test binary a program that says its version: it is what is pushed.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "rbee" {
		fmt.Println("rbee", core.Version)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// small is a program of this version that is quick to send.
func small(t *testing.T) string {
	t.Helper()
	return script(t, filepath.Join(t.TempDir(), "program"), "echo rbee "+core.Version+"\n#"+strings.Repeat("padding ", 1000))
}

// patience is how long anything may take before a test gives up.
const patience = 60 * time.Second

// loaders are those of this machine.
func loaders() []string {
	one, _ := filepath.Glob("/lib/ld-*")
	two, _ := filepath.Glob("/lib64/ld-*")
	return append(one, two...)
}

// A site is a node with a home of its own; what is in bin comes first in its PATH.
type site struct {
	home, bin string
	conn      *remote.Conn
}

func newSite(t *testing.T, options ...string) site {
	t.Helper()
	s := site{home: t.TempDir(), bin: t.TempDir()}
	s.conn = dial(t, sshdtest.Start(t, append(options, fmt.Sprintf("SetEnv HOME=%s PATH=%s:/usr/bin:/bin SHELL=/bin/sh", s.home, s.bin))...).Node)
	return s
}

func (s site) local(name string) string { return filepath.Join(s.home, ".local", "bin", name) }

func (s site) probe(t *testing.T) remote.Facts {
	t.Helper()
	f, err := s.conn.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// version is what a program on the node says.
func (s site) version(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command(s.local(name), "version").Output()
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// files are the names beside the program.
func (s site) files(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(s.local(""))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestProbe(t *testing.T) {
	s := newSite(t)
	script(t, filepath.Join(s.bin, "rbee"), "echo 'a warning' >&2; echo rbee 1.2.3; echo another >&2")
	script(t, s.local("rbee"), "exit 1")
	script(t, filepath.Join(s.bin, "nvidia-smi"), "echo 'GPU 0: NVIDIA H100 (UUID: x)'; echo 'GPU 1: other'")
	if err := os.WriteFile(filepath.Join(s.home, ".bashrc"), []byte("echo welcome\n"), 0o600); err != nil { // sshd's bash reads it
		t.Fatal(err)
	}
	f, err := s.conn.ProbeAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []remote.Found{{Path: filepath.Join(s.bin, "rbee"), Version: "1.2.3"}, {Path: s.local("rbee")}}
	if f.OS != runtime.GOOS || f.Arch != runtime.GOARCH || f.Home != s.home || f.Cores < 1 || f.DiskFreeBytes <= 0 || !f.Gzip || f.Shell != "/bin/sh" {
		t.Errorf("got %+v", f)
	}
	if fmt.Sprint(f.Programs) != fmt.Sprint(want) || len(f.GPUs) != 2 || len(f.Loaders) == 0 {
		t.Errorf("got programs %v, GPUs %q, loaders %q", f.Programs, f.GPUs, f.Loaders)
	}
	if f := s.probe(t); fmt.Sprint(f.Programs) != fmt.Sprint(want) || len(f.GPUs) != 0 {
		t.Errorf("for a program alone: got programs %v, GPUs %q", f.Programs, f.GPUs)
	}
}

func TestProbeWithoutShell(t *testing.T) {
	s := newSite(t, "ForceCommand echo this account is not available")
	if _, err := s.conn.Probe(t.Context()); !errors.Is(err, core.Unsupported) || !strings.Contains(err.Error(), "not available") {
		t.Errorf("Probe: %v", err)
	}
}

func TestProvide(t *testing.T) {
	tests := map[string]struct {
		inPath, local string // versions; "" is no program
		force         bool
		want          core.Kind
		pushed        bool
		files         string
	}{
		"nothing there":          {"", "", false, "", true, "rbee"},
		"this version":           {"", core.Version, false, "", false, "rbee"},
		"this version in PATH":   {core.Version, "", false, "", false, ""},
		"another in PATH":        {"0.0.9", "", false, "", true, "rbee"},
		"older":                  {"", "0.0.9", false, "", true, "rbee rbee.old"},
		"older, PATH has this":   {core.Version, "0.0.9", false, "", false, "rbee"},
		"another build":          {"", core.Version + "+abc", false, "", true, "rbee rbee.old"},
		"does not say":           {"", "-", false, "", true, "rbee rbee.old"},
		"newer":                  {"", "9.0.0", false, core.VersionMismatch, false, "rbee"},
		"newer, by force":        {"", "9.0.0", true, "", true, "rbee rbee.old"},
		"this version, by force": {"", core.Version, true, "", true, "rbee rbee.old"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			if tt.inPath != "" {
				script(t, filepath.Join(s.bin, "rbee"), "echo rbee "+tt.inPath)
			}
			if tt.local != "" {
				script(t, s.local("rbee"), "echo rbee "+tt.local)
			}
			got, err := s.conn.ProvideOf(t.Context(), s.probe(t), remote.Pushing{Force: tt.force, Stall: patience}, small(t))
			if tt.want != "" && !errors.Is(err, tt.want) || tt.want == "" && err != nil {
				t.Fatalf("Provide: got %v, want %q", err, tt.want)
			}
			if pushed := got.Bytes > 0; pushed != tt.pushed || s.files(t) != tt.files {
				t.Errorf("pushed: %v, files: %s; want %v, %s", pushed, s.files(t), tt.pushed, tt.files)
			}
			if out, err := exec.Command(cmpOr(got.Path, "true"), "version").Output(); tt.want == "" && (err != nil || string(out) != "rbee "+core.Version+"\n") {
				t.Errorf("%s says %q, %v", got.Path, out, err)
			}
		})
	}
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// Whatever goes wrong on the way leaves what was there, and nothing else.
func TestPushFails(t *testing.T) {
	tests := map[string]struct {
		spoil func(t *testing.T, s site, f *remote.Facts)
		want  core.Kind
		says  string
	}{
		"the bytes are damaged": {func(t *testing.T, s site, _ *remote.Facts) {
			script(t, filepath.Join(s.bin, "gzip"), `/usr/bin/gzip "$@" | tr '\0' '\1'`)
		}, core.NodeUnreachable, "did not arrive whole"},
		"the end is cut off": {func(t *testing.T, s site, _ *remote.Facts) {
			script(t, filepath.Join(s.bin, "gzip"), `/usr/bin/gzip "$@" | head -c 1000; cat >/dev/null`)
		}, core.NodeUnreachable, "did not arrive whole"},
		"no room": {func(_ *testing.T, _ site, f *remote.Facts) { f.DiskFreeBytes = 1000 }, core.InsufficientDisk, "no room"},
		"the home is no directory": {func(t *testing.T, s site, _ *remote.Facts) {
			if err := errors.Join(os.RemoveAll(s.home), os.WriteFile(s.home, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, core.NodeUnreachable, "cannot be written"},
		"another processor": {func(_ *testing.T, _ site, f *remote.Facts) { f.Arch = "mips" }, core.Unsupported, "the node is linux/mips"},
		"no loader":         {func(_ *testing.T, _ site, f *remote.Facts) { f.Loaders = []string{"/lib/ld-musl-x86_64.so.1"} }, core.Unsupported, "cannot start there"},
		"old libc":          {func(_ *testing.T, _ site, f *remote.Facts) { f.Libc = "glibc 2.2" }, core.Unsupported, "it needs glibc"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			script(t, s.local("rbee"), "echo rbee 0.0.9")
			f := s.probe(t)
			tt.spoil(t, s, &f)
			_, err := s.conn.Provide(t.Context(), f, remote.Pushing{Stall: patience})
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) || core.FaultOf(err).Try == "" {
				t.Errorf("Provide: got %v, want %v that says %q", err, tt.want, tt.says)
			}
			if info, err := os.Stat(s.home); err != nil || !info.IsDir() {
				return
			}
			if s.files(t) != "rbee" || s.version(t, "rbee") != "rbee 0.0.9" {
				t.Errorf("left: %s", s.files(t))
			}
		})
	}
}

// A program that is made for the node's kind but does not start is seen by running
// it, and the next one is tried: here a copy of this one under the name rbee-OS-ARCH.
func TestPushSecondChoice(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("patches an ELF file")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken")
	patched := bytes.Replace(b, []byte("ld-linux-"), []byte("ld-xxxxx-"), 1)
	beside := filepath.Join(dir, fmt.Sprintf("rbee-%s-%s", runtime.GOOS, runtime.GOARCH))
	if err := errors.Join(os.WriteFile(broken, patched, 0o700), os.WriteFile(beside, b, 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string][]string{"none fits": {broken}, "the second fits": {broken, beside}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			f := s.probe(t)
			f.Loaders = append(f.Loaders, loaderIn(t, patched)) // so that only running it tells
			_, err := s.conn.ProvideOf(t.Context(), f, remote.Pushing{}, list...)
			if len(list) == 2 {
				if err != nil || s.version(t, "rbee") != "rbee "+core.Version {
					t.Errorf("Provide: %v", err)
				}
				return
			}
			facts := fmt.Sprint(core.FaultOf(err).Facts)
			if !errors.Is(err, core.Unsupported) || !strings.Contains(err.Error(), "does not start") || !strings.Contains(facts, "not found") || s.files(t) != "" {
				t.Errorf("Provide: %v, %s; left: %s", err, facts, s.files(t))
			}
		})
	}
}

// loaderIn is the loader that a patched program asks for.
func loaderIn(t *testing.T, b []byte) string {
	t.Helper()
	i := bytes.Index(b, []byte("ld-xxxxx-"))
	if i < 0 {
		t.Fatal("no loader in this test binary: it is static")
	}
	begin, end := bytes.LastIndexByte(b[:i], 0)+1, i+bytes.IndexByte(b[i:], 0)
	return string(b[begin:end])
}

// Without gzip on the node the program goes as it is.
func TestPushRaw(t *testing.T) {
	s := newSite(t)
	f := s.probe(t)
	f.Gzip = false
	var last, total int64
	got, err := s.conn.ProvideOf(t.Context(), f, remote.Pushing{Progress: func(n, of int64) { last, total = n, of }}, small(t))
	if err != nil || got.Bytes != got.Size || last != total || total != got.Size {
		t.Errorf("Provide: %+v, %v; progress %d of %d", got, err, last, total)
	}
}

// A login shell may be fish.
func TestFish(t *testing.T) {
	if _, err := exec.LookPath("fish"); err != nil {
		if os.Getenv("RBEE_TEST_ALL") == "1" {
			t.Fatal("no fish here: install the package fish")
		}
		t.Skip("no fish here")
	}
	s := newSite(t, `ForceCommand exec fish -c "$SSH_ORIGINAL_COMMAND"`)
	script(t, s.local("rbee"), "echo rbee 0.0.9")
	if _, err := s.conn.ProvideOf(t.Context(), s.probe(t), remote.Pushing{}, small(t)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.conn.Rollback(t.Context()); err != nil || got != "0.0.9" {
		t.Errorf("Rollback: %q, %v", got, err)
	}
}

// Many at once leave one program, and keep the one that was there before.
func TestPushAtOnce(t *testing.T) {
	s := newSite(t, "MaxSessions 10")
	script(t, s.local("rbee"), "echo rbee 0.0.9")
	f := s.probe(t)
	const n = 6
	program := small(t)
	errs := make(chan error, n)
	for range n {
		go func() {
			_, err := s.conn.ProvideOf(t.Context(), f, remote.Pushing{}, program)
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err, core.FaultOf(err).Facts)
		}
	}
	if s.files(t) != "rbee rbee.old" || s.version(t, "rbee") != "rbee "+core.Version || s.version(t, "rbee.old") != "rbee 0.0.9" {
		t.Errorf("left: %s, rbee.old %s", s.files(t), s.version(t, "rbee.old"))
	}
}

// A node that takes nothing ends the push.
func TestPushStalls(t *testing.T) {
	s := newSite(t)
	never := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(never, 0o600); err != nil {
		t.Fatal(err)
	}
	hold, err := os.OpenFile(never, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close() // ends the program there
	script(t, filepath.Join(s.bin, "gzip"), "exec cat "+never)
	f := s.probe(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = s.conn.Provide(ctx, f, remote.Pushing{Stall: 200 * time.Millisecond})
	if !errors.Is(err, core.NodeUnreachable) || !strings.Contains(err.Error(), "has taken nothing") {
		t.Errorf("Provide: %v", err)
	}
}

func TestRollback(t *testing.T) {
	s := newSite(t)
	if _, err := s.conn.Rollback(t.Context()); !errors.Is(err, core.NotFound) {
		t.Errorf("nothing kept: %v", err)
	}
	script(t, s.local("rbee"), "echo rbee 0.0.9")
	if _, err := s.conn.ProvideOf(t.Context(), s.probe(t), remote.Pushing{}, small(t)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0.0.9", core.Version} {
		if got, err := s.conn.Rollback(t.Context()); err != nil || got != want || s.version(t, "rbee") != "rbee "+want {
			t.Errorf("Rollback: got %q, %v; want %q", got, err, want)
		}
	}
	script(t, s.local("rbee.old"), "exit 3")
	if _, err := s.conn.Rollback(t.Context()); err == nil || s.version(t, "rbee") != "rbee "+core.Version {
		t.Errorf("a kept program that does not start: %v", err)
	}
}

func TestNewer(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"0.2.0", "0.1.0", true},
		{"0.10.0", "0.9.0", true},
		{"1.0.0", "1.0.0-dev", true},
		{"1.0.0-dev+b", "1.0.0-dev+a", false},
		{"0.1.0", "0.1.0", false},
		{"", "0.1.0", false},
		{"what", "0.1.0", false},
	} {
		if got := remote.Newer(tt.a, tt.b); got != tt.want {
			t.Errorf("Newer(%q, %q): %v", tt.a, tt.b, got)
		}
	}
}
