package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"rbee/core"
)

// load reads the settings of a home.
func load(t *testing.T, home string) Settings {
	t.Helper()
	s, err := Load([]string{"RBEE_HOME=" + home})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNodes(t *testing.T) {
	home := t.TempDir()
	full := Node{Host: "10.0.0.5", User: `o"brien`, Port: 2222, Keys: []string{"~/.ssh/a", `b\c`}, Jump: "me@bastion:22,other"}
	for name, n := range map[string]Node{"mac": full, "pi.local": {}, "x-1": {User: "y"}} {
		if err := load(t, home).Paths.AddNode(name, n); err != nil {
			t.Fatal(err)
		}
	}
	got := load(t, home).Nodes
	if len(got) != 3 || !reflect.DeepEqual(got["mac"], full) || got["x-1"].User != "y" {
		t.Errorf("got %+v", got)
	}
	info, err := os.Stat(filepath.Join(home, "config.toml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("config.toml: %v, %v", info.Mode(), err)
	}
	for name, want := range map[string]bool{"pi.local": true, "nobody": false} {
		if found, err := load(t, home).Paths.RemoveNode(name); found != want || err != nil {
			t.Errorf("RemoveNode(%s): %v, %v", name, found, err)
		}
	}
	if got := load(t, home).Nodes; len(got) != 2 {
		t.Errorf("after rm: %+v", got)
	}
}

// Who adds at the same time as others loses nothing.
func TestAddNodeAtOnce(t *testing.T) {
	paths := load(t, filepath.Join(t.TempDir(), "none", "yet")).Paths
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := paths.AddNode(fmt.Sprintf("node%d", i), Node{Port: 1 + i}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	text, err := os.ReadFile(paths.Own)
	if err != nil {
		t.Fatal(err)
	}
	if nodes, err := nodesIn(string(text)); err != nil || len(nodes) != 20 {
		t.Errorf("%d nodes, %v; want 20", len(nodes), err)
	}
}

const edited = `# mine
models_dirs = [
  "/m", # the big ones
]

# the laptop
[ node . mac ] # it travels
host = "10.0.0.5"
keys = [
  "~/a", # [no table]
]

# times
[limits]
idle = "1m"

[node."pi.local"]
user = "pi"
`

// What a person wrote stays as it is.
func TestNodesKeepText(t *testing.T) {
	tests := map[string]struct {
		change func(Paths) error
		want   func(string) string
	}{
		"add": {
			func(p Paths) error { return p.AddNode("new", Node{User: "u"}) },
			func(s string) string { return s + "\n[node.new]\nuser = 'u'\n" },
		},
		"remove in the middle": {
			func(p Paths) error { _, err := p.RemoveNode("mac"); return err },
			func(s string) string {
				before, rest, _ := strings.Cut(s, "[ node . mac")
				_, after, _ := strings.Cut(rest, "\n# times")
				return before + "\n# times" + after
			},
		},
		"remove the last": {
			func(p Paths) error { _, err := p.RemoveNode("pi.local"); return err },
			func(s string) string { before, _, _ := strings.Cut(s, `[node."pi`); return before },
		},
		"replace": {
			func(p Paths) error { return p.AddNode("pi.local", Node{Port: 22}) },
			func(s string) string { return strings.Replace(s, `user = "pi"`, "port = 22", 1) },
		},
		"remove what is not there": {
			func(p Paths) error { _, err := p.RemoveNode("nobody"); return err },
			func(s string) string { return s },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			file := filepath.Join(home, "config.toml")
			elsewhere := filepath.Join(home, "dotfiles.toml")
			if err := errors.Join(os.WriteFile(elsewhere, []byte(edited), 0o600), os.Symlink(elsewhere, file)); err != nil {
				t.Fatal(err)
			}
			if err := tt.change(load(t, home).Paths); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(elsewhere)
			if err != nil || string(got) != tt.want(edited) {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want(edited))
			}
			load(t, home)
		})
	}
}

// A file that cannot be edited without harm is left alone.
func TestNodesRefused(t *testing.T) {
	tests := map[string]struct {
		text string
		name string
		says string
	}{
		"inline":            {"node.mac = {host = 'h'}\n", "mac", "by hand"},
		"in a table":        {"[node]\nmac = {host = 'h'}\n", "mac", "by hand"},
		"with a table more": {"[node.mac]\nkeys = [\n[\n]]\n", "mac", "line"},
		"broken":            {"[node.mac\n", "mac", "line 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.toml")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Paths{Own: file}.RemoveNode(tt.name)
			if !errors.Is(err, core.Invalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an error that says %q", err, tt.says)
			}
			if b, _ := os.ReadFile(file); string(b) != tt.text {
				t.Errorf("changed: %q", b)
			}
		})
	}
}

// A file of one's own would hide the system's.
func TestNodesUnderSystemConfig(t *testing.T) {
	dir := t.TempDir()
	err := Paths{Own: filepath.Join(dir, "own"), Config: "/etc/rbee/config.toml"}.AddNode("mac", Node{})
	if !errors.Is(err, core.Invalid) || !strings.Contains(core.FaultOf(err).Try, "cp /etc/rbee/config.toml") {
		t.Errorf("got %v", err)
	}
}

func TestBadNodes(t *testing.T) {
	for text, says := range map[string]string{
		"[node.mac]\nhots = 'h'\n": `unknown key "node.mac.hots"`, "[node.mac]\nport = 70000\n": "port 70000", "[node.'a b']\n": "letters", "[node.localhost]\n": "already",
	} {
		home := t.TempDir()
		if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load([]string{"RBEE_HOME=" + home}); !errors.Is(err, core.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want an error that says %q", text, err, says)
		}
	}
}
