package remote

import (
	"cmp"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"rbee/core"
)

// A Program is an executable of ours that can be put on a node.
type Program struct {
	Name string // as a person calls it
	Path string
}

// Ours returns what of ours is made for a system, the likeliest first: this very
// program, and the file rbee-OS-ARCH beside it.
func Ours(system, arch string) ([]Program, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	var list []Program
	if system == runtime.GOOS && arch == runtime.GOARCH {
		self := exe
		if runtime.GOOS == "linux" {
			self = "/proc/self/exe" // even when the file was replaced meanwhile
		}
		list = append(list, Program{Name: exe, Path: self})
	}
	beside := filepath.Join(filepath.Dir(exe), fmt.Sprintf("rbee-%s-%s", system, arch))
	if _, err := os.Stat(beside); err == nil && beside != exe {
		list = append(list, Program{Name: beside, Path: beside})
	}
	if len(list) > 0 {
		return list, nil
	}
	return nil, &core.Fault{
		Kind: core.Unsupported, What: fmt.Sprintf("this program is for %s/%s, the node is %s/%s", runtime.GOOS, runtime.GOARCH, system, arch),
		Facts: []core.Fact{core.Text("missing", beside)},
		Try:   fmt.Sprintf("build rbee %s for %s/%s and put it at %s", core.Version, system, arch, beside),
	}
}

// Fits returns nil if something of ours is made for the node that says this of itself.
// Whether it starts there only a push tells for sure.
func Fits(node string, f Facts) error {
	for _, p := range f.Programs {
		if p.Path == f.place() && Newer(p.Version, core.Version) {
			return mismatch(node, p)
		}
	}
	list, err := Ours(f.OS, f.Arch)
	if err != nil {
		return err
	}
	for _, p := range list {
		if err = p.Starts(f); err == nil {
			return nil
		}
	}
	return err
}

// Starts returns nil unless it can be seen before that the program will not start on
// the node: it is dynamic, so it needs a loader and a libc that is new enough.
func (p Program) Starts(f Facts) error {
	file, err := elf.Open(p.Path)
	if err != nil {
		return nil // of another format: the node will say
	}
	defer file.Close()
	loader := loaderOf(file)
	if loader != "" && !slices.Contains(f.Loaders, loader) {
		return p.wrongLibc(f, loader)
	}
	have, known := strings.CutPrefix(f.Libc, "glibc ")
	if need := glibcOf(file); known && need != "" && semver.Compare("v"+have, "v"+need) < 0 {
		return p.wrongLibc(f, "glibc "+need)
	}
	return nil
}

func (p Program) wrongLibc(f Facts, need string) error {
	return &core.Fault{
		Kind: core.Unsupported, What: fmt.Sprintf("%s cannot start there: it needs %s", p.Name, need),
		Facts: []core.Fact{core.Text("libc", cmp.Or(f.Libc, "unknown")), core.Text("loaders", cmp.Or(strings.Join(f.Loaders, " "), "none"))},
		Try: fmt.Sprintf("build rbee %s on a machine of that kind, and run ./rbee install there, or put it beside %s as rbee-%s-%s",
			core.Version, filepath.Base(p.Name), f.OS, f.Arch),
	}
}

// loaderOf is the dynamic loader that a program asks for.
func loaderOf(file *elf.File) string {
	for _, seg := range file.Progs {
		if seg.Type == elf.PT_INTERP {
			b, _ := io.ReadAll(io.LimitReader(seg.Open(), 4096))
			return strings.TrimRight(string(b), "\x00")
		}
	}
	return ""
}

// glibcOf is the newest glibc that a program asks for.
func glibcOf(file *elf.File) (newest string) {
	needs, _ := file.DynamicVersionNeeds()
	for _, lib := range needs {
		for _, dep := range lib.Needs {
			if v, ok := strings.CutPrefix(dep.Dep, "GLIBC_"); ok && semver.Compare("v"+v, "v"+newest) > 0 {
				newest = v
			}
		}
	}
	return newest
}

// sum returns size and sha256 of a file.
func sum(path string) (size int64, digest string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// Newer tells whether version a is newer than b, as semantic versions are compared:
// builds of one version (+…) are not newer than each other.
func Newer(a, b string) bool { return semver.Compare("v"+a, "v"+b) > 0 }

var errNotOurs = errors.New("it does not say a version")
