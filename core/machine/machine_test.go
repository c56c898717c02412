package machine

import (
	"os"
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
		if got := parseCgroup([]byte(text)); got != want {
			t.Errorf("cgroup %q: got %q, want %q", text, got, want)
		}
	}
}

func TestThisMachine(t *testing.T) {
	if m := ReadMemory(); m.Total <= 0 || m.Available <= 0 || m.Available > m.Total {
		t.Errorf("memory: %+v", m)
	}
	if n := UsableCores(); n < 1 {
		t.Errorf("cores: %d", n)
	}
	if d := Devices(); len(d) != 1 || d[0].Name == "" {
		t.Errorf("devices: %+v", d)
	}
	if free, err := DiskFree(t.TempDir() + "/not/yet/there"); err != nil || free <= 0 {
		t.Errorf("disk: %d, %v", free, err)
	}
	if RSS(os.Getpid()) < 1<<20 || RSS(-1) != 0 {
		t.Errorf("rss: %d of this process, %d of none", RSS(os.Getpid()), RSS(-1))
	}
}
