package machine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestParsers(t *testing.T) {
	m := parseMeminfo([]byte("MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    8192 kB\nHugePages_Total: 0\nbroken\n"))
	if m != (Memory{16 << 20, 8 << 20}) {
		t.Errorf("meminfo: got %+v", m)
	}
	for text, want := range map[string]int{"150000 100000\n": 2, "100000 100000": 1, "max 100000": 0, "": 0, "x y": 0, "1 0": 0} {
		if got := parseQuota(text); got != want {
			t.Errorf("quota %q: got %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]string{"0::/user.slice/a\n": "/user.slice/a", "0::/\n": "/", "1:cpu:/x\n": "", "0::/../x": "/x"} {
		if got := parseCgroup([]byte(text), ""); got != want {
			t.Errorf("cgroup %q: got %q, want %q", text, got, want)
		}
	}
}

// What a container may still use: files that nobody reads are no use of memory, and
// the tightest of its groups counts.
func TestGroupMemory(t *testing.T) {
	tests := map[string]struct {
		own   string
		files map[string]string
		want  Memory
	}{
		"version 2": {"0::/a/b\n", map[string]string{
			"a/b/memory.max": "1000", "a/b/memory.current": "900", "a/b/memory.stat": "anon 100\ninactive_file 700\n",
			"a/memory.max": "5000", "a/memory.current": "4500", "a/memory.stat": "inactive_file 0\n",
		}, Memory{1000, 500}},
		"version 1": {"4:memory:/x\n0::/\n", map[string]string{
			"memory/x/memory.limit_in_bytes": "1000", "memory/x/memory.usage_in_bytes": "900", "memory/x/memory.stat": "inactive_file 1\ntotal_inactive_file 600\n",
		}, Memory{1000, 700}},
		"no limit": {"0::/\n", map[string]string{"memory.max": "max"}, Memory{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range tt.files {
				full := filepath.Join(root, file)
				if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o700), os.WriteFile(full, []byte(text), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			if got := groupMemory(root, []byte(tt.own)); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestThisMachine(t *testing.T) {
	if m := ReadMemory(); m.Total <= 0 || m.Available <= 0 || m.Available > m.Total {
		t.Errorf("memory: %+v", m)
	}
	if n := UsableCores(); n < 1 {
		t.Errorf("cores: %d", n)
	}
	if d := CPU(); d.Name == "" {
		t.Errorf("devices: %+v", d)
	}
	if free, err := DiskFree(t.TempDir() + "/not/yet/there"); err != nil || free <= 0 {
		t.Errorf("disk: %d, %v", free, err)
	}
	if RSS(os.Getpid()) < 1<<20 || RSS(-1) != 0 {
		t.Errorf("rss: %d of this process, %d of none", RSS(os.Getpid()), RSS(-1))
	}
}
