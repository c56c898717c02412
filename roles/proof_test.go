package roles

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/lease"
	"rbee/core/machine/nvmltest"
)

// plant starts a shell, which plants a process: with no environment, in a session of
// its own, deaf to SIGTERM, and with a file that is deleted as soon as it is open. The
// shell alone carries the mark of a run.
func plant(t *testing.T, w *world, run string) (planted lease.Proc) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lost")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", `setsid env -i /bin/sh -c 'trap "" TERM; echo $$; exec sleep 1000' 9<"$0" & wait`, file)
	shell.Env = w.env(lease.Mark + "=" + run)
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = shell.Process.Kill()
		_ = planted.Signal(syscall.SIGKILL)
		_ = shell.Wait()
	})
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	if planted, err = lease.Find(pid); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	return planted
}

// What has left group, session and environment behind is found by descent, and named
// with the deleted file that it keeps.
func TestStopNamesByDescent(t *testing.T) {
	need(t, 8080, 9200)
	w := newWorld(t)
	q := w.start("queen-rbee", "daemon")
	stray := plant(t, w, w.healthy(8080).Instance)
	s := w.start("rbee", "stop")
	s.expect(1, "not everything has ended", fmt.Sprintf("left: sleep, pid %d, memory ", stray.PID), "deleted file ", "/lost")
	q.expect(0)
	if !stray.Alive() {
		t.Error("what was named is gone")
	}
}

// graphics are a GPU that gives memory back after so many looks.
func graphics(t *testing.T, looks int) *nvmltest.Emulator {
	t.Helper()
	return nvmltest.New(t, looks, nvmltest.GPU{Name: "Emulated", UUID: "GPU-1", Total: 24 << 30})
}

// The next worker begins, and the end of one is over, when its memory of the GPU is
// back; a GPU that is seen is no backend.
func TestGPUMemoryIsBack(t *testing.T) {
	const looks, used = 4, 5 << 30
	w := newWorld(t)
	e := graphics(t, looks)
	daemon, url := w.hive(e.Env())
	hive := client.New(url, client.Options{})
	defer hive.Close()
	has, err := hive.Capabilities(t.Context())
	if err != nil || len(has.Devices) != 2 || has.Devices[1].Backend != core.CUDA || has.Devices[1].MemoryFreeBytes != 24<<30 {
		t.Fatalf("capabilities: %+v, %v", has, err)
	}
	if _, err := hive.Spawn(t.Context(), api.SpawnRequest{ModelRef: core.Embedded, Backend: core.CUDA}); !errors.Is(err, core.BackendUnavailable) {
		t.Errorf("a worker on the GPU: %v", err)
	}
	first, c := w.worker(hive, "", api.SpawnRequest{ModelRef: core.Embedded}, api.Idle)
	c.Close()
	e.Use(0, first.PID, used)
	p, err := lease.Find(first.PID)
	if err != nil {
		t.Fatal(err)
	}
	signal(t, p, syscall.SIGKILL)
	w.until("it has failed", func() bool {
		list, err := hive.Workers(t.Context())
		return err == nil && len(list.Workers) == 1 && list.Workers[0].State == api.Failed
	})
	next, c := w.worker(hive, "", api.SpawnRequest{ModelRef: core.Embedded}, api.Idle)
	c.Close()
	if got := e.Used(0); got != 0 {
		t.Errorf("in use when the next worker is there: %d", got)
	}
	e.Use(0, next.PID, used)
	if err := hive.DeleteWorker(t.Context(), next.ID); err != nil {
		t.Fatal(err)
	}
	if got := e.Used(0); got != 0 {
		t.Errorf("in use after the end of a worker: %d", got)
	}
	if err := hive.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	daemon.expect(0)
}

// The proof has the GPU's memory before and after, and so has hive detect.
func TestProofOfGPU(t *testing.T) {
	w := newWorld(t)
	e := graphics(t, 0)
	r := w.startEnv(e.Env(), "rbee", "infer", "what is a hive?", "--max-tokens", "5")
	r.expect(0, "GPU 0 free 25.8 GB → 25.8 GB", "ports ", " closed", "nothing left")
	r = w.startEnv(e.Env(), "rbee", "hive", "detect")
	r.expect(0)
	var has api.Capabilities
	if err := json.Unmarshal([]byte(r.stdout()), &has); err != nil || len(has.Devices) != 2 || has.Devices[1].UUID != "GPU-1" {
		t.Errorf("detect: %s, %v", r.stdout(), err)
	}
	e.Fail("nvmlInit", 0, 18)
	r = w.startEnv(e.Env(), "rbee", "hive", "detect")
	r.expect(0, "Driver/library version mismatch")
	if strings.Contains(r.stdout(), "cuda") {
		t.Errorf("detect without a driver: %s", r.stdout())
	}
	r = w.startEnv(e.Env(), "rbee", "infer", "--backend", "cuda", "what is a hive?")
	r.expect(1, "is not in this build")
}
