package fetch_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rbee/catalog/fetch"
	"rbee/catalog/fetch/hubtest"
	"rbee/core"
)

const (
	childMark  = "RBEE_FETCH_CHILD"  // url, directory, hash and size: this process is to fetch
	memoryMark = "RBEE_FETCH_MEMORY" // and to say at last by how many bytes its memory grew
	smallMark  = "RBEE_FETCH_SMALL"  // this process has a mount namespace of its own
)

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(childMark)); len(args) == 4 {
		os.Exit(child(args[0], args[1], args[2], args[3]))
	}
	os.Exit(m.Run())
}

// child fetches a file and says each stage on stdout when it begins.
func child(address, dir, sum, size string) int {
	n, _ := strconv.ParseInt(size, 10, 64)
	plan := fetch.Plan{Ref: "hf:org/repo:Q4_K_M", Files: []fetch.File{{Name: name, Size: n, Source: func(ctx context.Context) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	}}}}
	plan.Files[0].SHA256 = strings.TrimPrefix(sum, "-")
	began, _ := os.ReadFile("/proc/self/status")
	stage := ""
	o := fetch.Options{Dir: dir, RangeSize: 4 * mega, Backoff: time.Millisecond, Every: time.Millisecond}
	if os.Getenv(memoryMark) != "" {
		o = fetch.Options{Dir: dir}
	}
	results, err := fetch.New(o).Fetch(context.Background(), plan, func(p fetch.Progress) {
		if p.Stage != stage {
			stage = p.Stage
			fmt.Println(stage)
		}
	})
	if err != nil || len(results) != 1 {
		fmt.Println(err)
		return 1
	}
	fmt.Println(results[0].Path)
	if ended, _ := os.ReadFile("/proc/self/status"); os.Getenv(memoryMark) != "" {
		fmt.Println(residentBytes(ended) - residentBytes(began))
	}
	return 0
}

// A process is a child that fetches.
type process struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

func startChild(t *testing.T, hub *hubtest.Hub, dir string, data []byte, unknown bool) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sum, size := sumOf(data), len(data)
	if unknown {
		sum, size = "-", -1
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s/%s/resolve/main/%s %s %s %d", childMark, hub.URL, repo, name, dir, sum, size), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd, bufio.NewScanner(out)}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return p
}

// until reads what the child says until it says want.
func (p *process) until(t *testing.T, want string) {
	t.Helper()
	var all []string
	for p.out.Scan() {
		if all = append(all, p.out.Text()); p.out.Text() == want {
			return
		}
	}
	t.Fatalf("the child said %q, want %q", all, want)
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// A process that is killed at any moment loses at most a MiB of each of its four ranges.
func TestKill(t *testing.T) {
	const size = 128 * mega
	kills := 20
	if testing.Short() {
		kills = 8
	}
	hub := hubtest.New(t)
	data := content(10, size)
	hub.Add(repo, name, data)
	steps := make(chan struct{})
	hub.Fault(hubtest.Store, hubtest.Slow(steps))
	dir := t.TempDir()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	had := int64(0)
	for n := range kills {
		before := hub.Served(name)
		p := startChild(t, hub, dir, data, false)
		for range random.IntN(200) + 1 {
			steps <- struct{}{}
		}
		p.kill()
		has := int64(0)
		if left, err := fetch.Leftovers(dir); err != nil {
			t.Fatal(err)
		} else if len(left) == 1 {
			has = left[0].Bytes
		}
		if sent := hub.Served(name) - before; sent-(has-had) > 4*mega {
			t.Errorf("seed %d, kill %d: %d bytes were sent, and only %d more are here", seed, n, sent, has-had)
		}
		had = has
	}
	before := hub.Served(name)
	p := startChild(t, hub, dir, data, false)
	close(steps)
	p.until(t, filepath.Join(dir, sumOf(data)+".gguf"))
	if got := hub.Served(name) - before; got != size-had {
		t.Errorf("seed %d: the last run fetched %d bytes, want the %d that were missing", seed, got, size-had)
	}
	got, err := os.ReadFile(filepath.Join(dir, sumOf(data)+".gguf"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("seed %d: the file is not what the hub has: %v", seed, err)
	}
}

// Two processes fetch a file once. When the one that fetches is killed, the other goes
// on with what it has.
func TestTwoProcesses(t *testing.T) {
	tests := map[string]struct{ unknown, kill bool }{
		"both stay": {}, "the hash is not known": {unknown: true}, "the first is killed": {kill: true},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			hub := hubtest.New(t)
			data := content(11, 16*mega)
			hub.Add(repo, name, data)
			steps := make(chan struct{})
			hub.Fault(hubtest.Store, hubtest.Slow(steps))
			dir := t.TempDir()
			first := startChild(t, hub, dir, data, tt.unknown)
			for range 40 {
				steps <- struct{}{}
			}
			second := startChild(t, hub, dir, data, tt.unknown)
			second.until(t, "waiting")
			most := int64(len(data))
			if tt.kill {
				first.kill()
				most += 4 * mega
			}
			close(steps)
			path := filepath.Join(dir, sumOf(data)+".gguf")
			if !tt.kill {
				first.until(t, path)
			}
			second.until(t, path)
			if n := hub.Served(name); n > most {
				t.Errorf("%d bytes were sent, want at most %d", n, most)
			}
			same(t, dir, []fetch.Result{{Name: name, Path: path, Size: int64(len(data)), SHA256: sumOf(data)}}, data)
		})
	}
}

// A disk that is too small, and one that others fill meanwhile.
func TestSmallDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	if os.Getenv(smallMark) == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, "-test.run=^TestSmallDisk$", "-test.v")
		cmd.Env = append(os.Environ(), smallMark+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	hub := hubtest.New(t)
	data := content(12, 24*mega)
	hub.Add(repo, name, data)
	o := quick(t, hub)
	if err := syscall.Mount("none", o.Dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(o.Dir, 0)
	_, err := fetch.New(o).Fetch(t.Context(), planOf(hub, data), nil)
	refused(t, o.Dir, err, core.InsufficientDisk, "no room")
	if f := core.FaultOf(err); len(f.Facts) < 2 || f.Facts[0] != core.Number("required_bytes", 24*mega+24*mega/100) || f.Facts[1].Name != "available_bytes" {
		t.Errorf("facts %+v", core.FaultOf(err).Facts)
	}
	if n := hub.Served(name); n > 4*mega {
		t.Errorf("%d bytes were sent before the disk was looked at", n)
	}
	if err := syscall.Mount("none", o.Dir, "", syscall.MS_REMOUNT, "size=26m"); err != nil {
		t.Fatal(err)
	}
	filled(t, hub, o, data)
}

// filled fills the disk while a file comes, and empties it again.
func filled(t *testing.T, hub *hubtest.Hub, o fetch.Options, data []byte) {
	steps := make(chan struct{})
	hub.Fault(hubtest.Store, hubtest.Slow(steps))
	filler := filepath.Join(o.Dir, "filler")
	full := false
	stop := make(chan struct{})
	go func() { // the first MiBs, and after the filler the rest
		for range 64 {
			steps <- struct{}{}
		}
		<-stop
		close(steps)
	}()
	_, err := fetch.New(o).Fetch(t.Context(), planOf(hub, data), func(p fetch.Progress) {
		if full || p.Done < mega {
			return
		}
		full = true
		if err := os.WriteFile(filler, make([]byte, 26*mega), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("the disk is not full: %v", err)
		}
		close(stop)
	})
	refused(t, o.Dir, err, core.InsufficientDisk, "no room")
	left, err := fetch.Leftovers(o.Dir)
	if err != nil || len(left) != 1 || left[0].Bytes < mega {
		t.Fatalf("left %+v, %v, want what had come", left, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	before := hub.Served(name)
	results, err := fetch.New(o).Fetch(t.Context(), planOf(hub, data), nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, o.Dir, results, data)
	missing := int64(len(data)) - left[0].Bytes // and what the hub was still sending when the disk was full
	if got := hub.Served(name) - before; got < missing || got > missing+mega {
		t.Errorf("%d bytes were sent, want the missing %d", got, missing)
	}
}
