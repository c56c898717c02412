// Package nvmltest emulates NVIDIA's management library for tests: GPUs that
// several processes see, with memory that is used by pid.
package nvmltest

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A GPU is one that the emulation has.
type GPU struct {
	Name, UUID string
	Total      int64 // bytes of memory
}

// An Emulator is a library with its GPUs.
type Emulator struct {
	t              testing.TB
	Library, State string
}

// The state as the library's C has it.
type (
	process struct {
		PID   int32
		Polls uint32
		Used  uint64
	}
	gpu struct {
		Name, UUID [64]byte
		Total      uint64
		Processes  [16]process
	}
	fault struct {
		Function  [48]byte
		At, Calls uint32
		Code      int32
		_         uint32
	}
	state struct {
		GPUs, After uint32
		Faults      [4]fault
		GPU         [4]gpu
	}
)

// New builds the library, which needs gcc, with at most four GPUs. The memory of a
// process that has died is back after so many reads of its GPU's memory.
func New(t testing.TB, after int, gpus ...GPU) *Emulator {
	t.Helper()
	dir := t.TempDir()
	_, here, _, _ := runtime.Caller(0)
	e := &Emulator{t, filepath.Join(dir, "libnvidia-ml.so.1"), filepath.Join(dir, "state")}
	cc := exec.CommandContext(t.Context(), "gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", e.Library, filepath.Join(filepath.Dir(here), "testdata", "nvml.c"))
	if out, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v: %s", err, out)
	}
	s := state{GPUs: uint32(len(gpus)), After: uint32(after)}
	for i, g := range gpus {
		copy(s.GPU[i].Name[:], g.Name)
		copy(s.GPU[i].UUID[:], g.UUID)
		s.GPU[i].Total = uint64(g.Total)
	}
	if err := os.WriteFile(e.State, encode(s), 0o666); err != nil {
		t.Fatal(err)
	}
	return e
}

func encode(s state) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.NativeEndian, s) // into memory, of fixed size
	return b.Bytes()
}

// Env is what a program needs in its environment to see the GPUs.
func (e *Emulator) Env() []string {
	return []string{"RBEE_NVML=" + e.Library, "RBEE_EMU_NVML=" + e.State}
}

// Use lets a process have so many bytes of a GPU's memory.
func (e *Emulator) Use(index, pid int, used int64) {
	e.t.Helper()
	e.change(func(s *state) {
		for i := range s.GPU[index].Processes {
			if p := &s.GPU[index].Processes[i]; p.PID == 0 {
				*p = process{PID: int32(pid), Used: uint64(used)}
				return
			}
		}
		e.t.Fatalf("GPU %d has no place for another process", index)
	})
}

// Used is how much of a GPU's memory is used. It is no poll.
func (e *Emulator) Used(index int) (used int64) {
	e.t.Helper()
	e.change(func(s *state) {
		for _, p := range s.GPU[index].Processes {
			used += int64(p.Used)
		}
	})
	return used
}

// Fail lets a function, named without its version, answer code at its at-th call
// from now on; 0: at every call.
func (e *Emulator) Fail(function string, at, code int) {
	e.t.Helper()
	e.change(func(s *state) {
		f := fault{At: uint32(at), Code: int32(code)}
		copy(f.Function[:], function)
		copy(s.Faults[1:], s.Faults[:])
		s.Faults[0] = f
	})
}

// change changes the state while no other process does.
func (e *Emulator) change(how func(*state)) {
	e.t.Helper()
	f, err := os.OpenFile(e.State, os.O_RDWR, 0)
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil { // until it is closed
		e.t.Fatal(err)
	}
	var s state
	if err := binary.Read(f, binary.NativeEndian, &s); err != nil {
		e.t.Fatal(err)
	}
	how(&s)
	if _, err := f.WriteAt(encode(s), 0); err != nil {
		e.t.Fatal(err)
	}
}
