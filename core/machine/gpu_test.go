package machine

import (
	"context"
	"fmt"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"rbee/core"
	"rbee/core/machine/nvmltest"
)

// emulated are GPUs of 8 and 24 GiB, which give memory back after so many looks.
func emulated(t *testing.T, after int) *nvmltest.Emulator {
	t.Helper()
	e := nvmltest.New(t, after,
		nvmltest.GPU{Name: "Emulated 8", UUID: "GPU-aaaa-1", Total: 8 << 30},
		nvmltest.GPU{Name: "Emulated 24", UUID: "GPU-bbbb-2", Total: 24 << 30})
	for _, v := range e.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	return e
}

func open(t *testing.T, e *nvmltest.Emulator) *GPUs {
	t.Helper()
	g, err := OpenGPUs(e.Library)
	if err != nil || g == nil {
		t.Fatalf("OpenGPUs: %v, %v", g, err)
	}
	t.Cleanup(g.Close)
	return g
}

// sleeper is a live process.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func TestGPUDevices(t *testing.T) {
	e := emulated(t, 0)
	e.Use(1, sleeper(t).Process.Pid, 3<<30)
	got, err := open(t, e).Devices()
	want := []core.Device{
		{Backend: core.CUDA, Index: 0, Name: "Emulated 8", UUID: "GPU-aaaa-1", MemoryTotalBytes: 8 << 30, MemoryFreeBytes: 8 << 30},
		{Backend: core.CUDA, Index: 1, Name: "Emulated 24", UUID: "GPU-bbbb-2", MemoryTotalBytes: 24 << 30, MemoryFreeBytes: 21 << 30},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Devices: got %+v, %v, want %+v", got, err, want)
	}
}

func TestVisibleGPUs(t *testing.T) {
	e := emulated(t, 0)
	for only, want := range map[string]string{
		"0,1": "Emulated 8,Emulated 24", "1": "Emulated 24", "1, 0": "Emulated 24,Emulated 8", "": "", "-1": "",
		"GPU-bbbb": "Emulated 24", "0,7,1": "Emulated 8", "nonsense,0": "",
	} {
		t.Run(only, func(t *testing.T) {
			t.Setenv("CUDA_VISIBLE_DEVICES", only)
			g, err := OpenGPUs(e.Library)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			var names []string
			list, _ := g.Devices()
			for i, d := range list {
				names = append(names, d.Name)
				if d.Index != i {
					t.Errorf("index of %s: got %d, want %d", d.Name, d.Index, i)
				}
			}
			if got := strings.Join(names, ","); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// No library and no driver are no error; what is broken is said in words.
func TestOpenGPUsFails(t *testing.T) {
	for _, path := range []string{"none", ""} { // this machine has none
		if g, err := OpenGPUs(path); path == "none" && g != nil || err != nil {
			t.Errorf("%q: got %v, %v", path, g, err)
		}
	}
	if _, err := OpenGPUs("/nowhere/libnvidia-ml.so.1"); err == nil || !strings.Contains(err.Error(), "/nowhere/") {
		t.Errorf("a path that is no file: %v", err)
	}
	for code, want := range map[int]string{9: "", 18: "Driver/library version mismatch", 4: "Insufficient Permissions"} {
		e := emulated(t, 0)
		e.Fail("nvmlInit", 0, code)
		g, err := OpenGPUs(e.Library)
		if g != nil || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("code %d: got %v, %v, want %q", code, g, err, want)
		}
	}
}

// A GPU that has fallen off the bus is named and has no memory; it does not hide others.
func TestGPULost(t *testing.T) {
	e := emulated(t, 0)
	g := open(t, e)
	e.Fail("nvmlDeviceGetMemoryInfo", 1, 15)
	list, err := g.Devices()
	if err == nil || !strings.Contains(err.Error(), "GPU 0") || !strings.Contains(err.Error(), "GPU is lost") {
		t.Errorf("error: %v", err)
	}
	if len(list) != 2 || list[0].MemoryTotalBytes != 0 || list[1].MemoryTotalBytes != 24<<30 {
		t.Errorf("devices: %+v", list)
	}
}

// The memory of a process that was killed is waited for, whoever else comes meanwhile.
func TestBack(t *testing.T) {
	const polls = 3
	e := emulated(t, polls)
	g := open(t, e)
	first := g.Levels()
	ours, other := sleeper(t), sleeper(t)
	e.Use(1, ours.Process.Pid, 6<<30)
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Back(short, ours.Process.Pid, first); err == nil || !strings.Contains(err.Error(), "GPU 1 (Emulated 24)") {
		t.Errorf("while it lives: %v", err)
	}
	_ = ours.Process.Kill()
	_ = ours.Wait()
	if err := g.Back(short, ours.Process.Pid, first); err == nil || !strings.Contains(err.Error(), "6144 MiB are in use by no process") {
		t.Errorf("before it is back: %v", err)
	}
	e.Use(1, other.Process.Pid, 7<<30)
	if err := g.Back(t.Context(), ours.Process.Pid, first); err != nil {
		t.Error(err)
	}
	if got := e.Used(1); got != 7<<30 {
		t.Errorf("in use when it is back: got %d, want %d", got, 7<<30)
	}
}

// A device that fails while it is waited for ends the wait with its name.
func TestBackLost(t *testing.T) {
	e := emulated(t, 1000)
	g := open(t, e)
	e.Fail("nvmlDeviceGetComputeRunningProcesses", 0, 15)
	if err := g.Back(t.Context(), 1, make([]Level, 2)); err == nil || !strings.Contains(err.Error(), "GPU is lost") {
		t.Errorf("got %v", err)
	}
	var none *GPUs
	if list, err := none.Devices(); list != nil || err != nil || none.Back(t.Context(), 1, none.Levels()) != nil {
		t.Error("no GPUs:", fmt.Sprint(list, err))
	}
	none.Close()
}
