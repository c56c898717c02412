package remote

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rbee/core"
)

// Facts are what a node says of itself before anything of ours runs there.
type Facts struct {
	Kernel        string // uname -sm, such as "Linux x86_64"
	OS, Arch      string // as Go names them, such as linux and amd64
	Home, Shell   string
	CPU           string
	Cores         int
	Features      []string // of the CPU, as the kernel names them
	Libc          string   // such as "glibc 2.36" or "musl libc (x86_64)"; empty where the system does not say
	Loaders       []string // the dynamic loaders that are there
	DiskFreeBytes int64    // in Home
	GPUs          []string // what nvidia-smi lists; only of ProbeAll
	Gzip          bool
	Programs      []Found // programs of ours, the one in PATH first
}

// Found is a program of ours on a node.
type Found struct{ Path, Version string }

// installed is where our program lies when we put it there.
const installed = "$HOME/.local/bin/rbee"

// probe prints one key=value a line. What a system does not have is left empty; it
// reads, and changes nothing.
const probe = `p() { printf '%s=%s\n' "$1" "$2"; }
p begin ''
p uname "$(uname -sm)"
p home "$HOME"
p shell "$SHELL"
p cores "$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc 2>/dev/null)"
p cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)"
p cpu "$(sysctl -n machdep.cpu.brand_string 2>/dev/null)"
p features "$(sed -n -e 's/^flags[^:]*: //p' -e 's/^Features[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)"
p libc "$(getconf GNU_LIBC_VERSION 2>/dev/null || { command -v ldd >/dev/null 2>&1 && ldd --version 2>&1 | head -n 1; })"
p loaders "$(echo /lib/ld-* /lib64/ld-*)"
p disk "$(df -Pk "$HOME" 2>/dev/null | tail -n 1)"
command -v gzip >/dev/null 2>&1 && p gzip yes
path="$(command -v rbee)"
for r in "$path" "` + installed + `"; do
	[ -x "$r" ] && p rbee "$r	$("$r" version 2>/dev/null </dev/null | tail -n 1)"
	[ "$path" = "` + installed + `" ] && break
done
`

// probeGPUs may take seconds: the driver may have to be loaded.
const probeGPUs = `nvidia-smi -L 2>/dev/null | while read -r l; do p gpu "$l"; done
`

// Probe asks a node what a program of ours must know to start there. It takes one
// exec and needs a POSIX shell.
func (c *Conn) Probe(ctx context.Context) (Facts, error) { return c.probe(ctx, probe) }

// ProbeAll is Probe, and what else is worth knowing, which may take a while.
func (c *Conn) ProbeAll(ctx context.Context) (Facts, error) { return c.probe(ctx, probe+probeGPUs) }

func (c *Conn) probe(ctx context.Context, script string) (Facts, error) {
	out, err := c.Output(ctx, []string{"sh", "-c", script + "p end ''"})
	f := parseFacts(string(out))
	switch {
	case f.OS != "":
		return f, nil
	case err != nil && (ctx.Err() != nil || core.KindOf(err) == core.NodeUnreachable):
		return f, err
	}
	return f, &core.Fault{
		Kind: core.Unsupported, What: fmt.Sprintf("node %s does not run a POSIX shell: %.80q", c.node.label(), cmp.Or(string(out), fmt.Sprint(err))),
		Try: fmt.Sprintf("ssh %s sh -c uname", c.node.label()), Cause: err,
	}
}

// parseFacts reads what the probe prints; a shell may greet before it.
func parseFacts(out string) (f Facts) {
	_, out, _ = strings.Cut(out, "begin=\n")
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		f.take(key, strings.TrimSpace(value))
	}
	return f
}

func (f *Facts) take(key, value string) {
	switch key {
	case "uname":
		f.Kernel = value
		f.OS, f.Arch = platform(value)
	case "home":
		f.Home = value
	case "shell":
		f.Shell = value
	case "cores":
		f.Cores, _ = strconv.Atoi(value)
	case "cpu":
		f.CPU = cmp.Or(f.CPU, value)
	case "features":
		f.Features = strings.Fields(value)
	case "libc":
		f.Libc = value
	case "loaders":
		f.Loaders = slices.DeleteFunc(strings.Fields(value), func(s string) bool { return strings.Contains(s, "*") }) // nothing matched
	case "disk":
		f.DiskFreeBytes = freeOf(value)
	case "gpu":
		f.GPUs = append(f.GPUs, value)
	case "gzip":
		f.Gzip = true
	case "rbee":
		f.addProgram(value)
	}
}

// addProgram reads "PATH<tab>rbee VERSION"; a program that says something else is
// no version at all.
func (f *Facts) addProgram(value string) {
	path, said, _ := strings.Cut(value, "\t")
	version, ok := strings.CutPrefix(said, "rbee ")
	if !ok {
		version = ""
	}
	for _, p := range f.Programs {
		if p.Path == path {
			return
		}
	}
	f.Programs = append(f.Programs, Found{path, version})
}

// platform names what uname -sm says as Go does.
func platform(uname string) (system, arch string) {
	s, m, _ := strings.Cut(uname, " ")
	machines := map[string]string{
		"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "i686": "386", "i386": "386",
		"armv7l": "arm", "armv6l": "arm", "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x", "loongarch64": "loong64",
	}
	return strings.ToLower(s), cmp.Or(machines[m], m)
}

// freeOf reads the last line of df -Pk: source, blocks, used, available, …. A source
// may hold blanks, so it counts from the end: …, available, capacity, mount point.
func freeOf(line string) int64 {
	f := strings.Fields(line)
	for i := len(f) - 1; i > 0; i-- {
		if strings.HasSuffix(f[i], "%") {
			kb, _ := strconv.ParseInt(f[i-1], 10, 64)
			return kb << 10
		}
	}
	return 0
}
