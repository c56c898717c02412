package machine

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "nvml.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"rbee/core"
)

// GPUs are the NVIDIA GPUs of this machine that a process started from here may use,
// as the driver's management library sees them: no context on a device is made. A
// nil *GPUs has none. Its methods may be called at the same time; Close is the last.
type GPUs struct {
	lib  *C.machine_nvml
	list []gpu
}

type gpu struct {
	index      C.uint // of the library: in the order of the bus
	name, uuid string
}

// The places of the management library: of a distribution, and of WSL.
var nvmlPaths = []string{"libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1"}

// OpenGPUs opens the management library at path: the usual ones for "", none at all
// for "none". Without library, driver or GPU the result is nil, which is no error. Its
// order is that of the PCI bus, and CUDA_VISIBLE_DEVICES chooses from it, so that a
// GPU's place is its number.
func OpenGPUs(path string) (*GPUs, error) {
	if path == "none" {
		return nil, nil
	}
	lib, err := openNVML(path)
	if lib == nil {
		return nil, err
	}
	g := &GPUs{lib: lib}
	switch code := C.machine_nvml_init(lib); code {
	case C.MACHINE_OK:
	case C.MACHINE_NO_DRIVER:
		C.machine_nvml_free(lib)
		return nil, nil
	default:
		defer C.machine_nvml_free(lib)
		return nil, g.fault("the GPUs cannot be seen", code)
	}
	if err := g.enumerate(); err != nil || len(g.list) == 0 {
		g.Close()
		return nil, err
	}
	return g, nil
}

func openNVML(path string) (*C.machine_nvml, error) {
	paths := nvmlPaths
	if path != "" {
		paths = []string{path}
	}
	for _, p := range paths {
		var words [512]C.char
		name := C.CString(p)
		lib := C.machine_nvml_open(name, &words[0], C.size_t(len(words)))
		C.free(unsafe.Pointer(name))
		if lib != nil {
			return lib, nil
		}
		why := C.GoString(&words[0])
		if path != "" || !strings.Contains(why, "No such file") {
			return nil, &core.Fault{Kind: core.BackendUnavailable, What: "the GPUs cannot be seen: " + why, Try: "RBEE_NVML=none hides them"}
		}
	}
	return nil, nil
}

// enumerate lists the GPUs that CUDA_VISIBLE_DEVICES leaves.
func (g *GPUs) enumerate() error {
	var n C.uint
	if code := C.machine_nvml_count(g.lib, &n); code != C.MACHINE_OK {
		return g.fault("the GPUs cannot be counted", code)
	}
	for i := range n {
		var name, uuid [96]C.char
		if code := C.machine_nvml_name(g.lib, i, &name[0], &uuid[0], C.uint(len(name))); code != C.MACHINE_OK {
			return g.fault(fmt.Sprintf("GPU %d cannot be seen", i), code)
		}
		g.list = append(g.list, gpu{i, C.GoString(&name[0]), C.GoString(&uuid[0])})
	}
	if only, set := os.LookupEnv("CUDA_VISIBLE_DEVICES"); set {
		g.list = visible(g.list, only)
	}
	return nil
}

// visible chooses as CUDA does: numbers, or beginnings of UUIDs, in their order, to
// the first that names no GPU.
func visible(all []gpu, only string) (list []gpu) {
	for word := range strings.SplitSeq(only, ",") {
		word = strings.TrimSpace(word)
		n, err := strconv.Atoi(word)
		if err != nil {
			n = slices.IndexFunc(all, func(g gpu) bool { return word != "" && strings.HasPrefix(g.uuid, word) })
		}
		if n < 0 || n >= len(all) {
			break
		}
		list = append(list, all[n])
	}
	return list
}

func (g *GPUs) fault(what string, code C.int) error {
	return &core.Fault{
		Kind: core.BackendUnavailable, What: fmt.Sprintf("%s: %s (NVML %d)", what, C.GoString(C.machine_nvml_words(g.lib, code)), int(code)),
		Try: "nvidia-smi says more; after an update of the driver the machine must be started again",
	}
}

// Close lets go of the library.
func (g *GPUs) Close() {
	if g != nil {
		C.machine_nvml_shutdown(g.lib)
		C.machine_nvml_free(g.lib)
	}
}

// Devices returns the GPUs with their memory as it is now. One that does not answer,
// for example because it has fallen off the bus, has none; err says why.
func (g *GPUs) Devices() (list []core.Device, err error) {
	if g == nil {
		return nil, nil
	}
	for i, one := range g.list {
		d := core.Device{Backend: core.CUDA, Index: i, Name: one.name, UUID: one.uuid}
		m, failed := g.memory(i)
		err = errors.Join(err, failed)
		d.MemoryTotalBytes, d.MemoryFreeBytes = int64(m.total), int64(m.free)
		list = append(list, d)
	}
	return list, err
}

func (g *GPUs) memory(i int) (m C.machine_memory, err error) {
	if code := C.machine_nvml_memory(g.lib, g.list[i].index, &m); code != C.MACHINE_OK {
		return C.machine_memory{}, g.fault(fmt.Sprintf("the memory of GPU %d cannot be seen", i), code)
	}
	return m, nil
}

// processes returns the memory of each process that computes on a GPU. known is
// false when the library does not say all of it, as in a container.
func (g *GPUs) processes(i int) (list map[int]int64, known bool, err error) {
	for most := C.uint(64); ; most *= 2 {
		found, n := make([]C.machine_process, most), most
		code := C.machine_nvml_processes(g.lib, g.list[i].index, &found[0], &n)
		if code == C.MACHINE_TOO_SMALL && most < 1<<16 {
			continue
		}
		if code == C.MACHINE_NOT_SUPPORTED || code == C.MACHINE_NO_FUNCTION {
			return nil, false, nil
		}
		if code != C.MACHINE_OK {
			return nil, false, g.fault(fmt.Sprintf("the processes of GPU %d cannot be seen", i), code)
		}
		list, known = map[int]int64{}, true
		for _, p := range found[:n] {
			list[int(p.pid)] = int64(p.used)
			known = known && p.used != ^C.uint64_t(0)
		}
		return list, known, nil
	}
}

// A Level is what of a GPU's memory is in use and is no live process's: the driver's
// own, and that of processes that have ended whose memory is not back yet.
type Level struct {
	bytes int64
	known bool // else bytes is all that is in use
}

func (g *GPUs) level(i int) (l Level, list map[int]int64, err error) {
	list, l.known, err = g.processes(i) // before the memory: who ends in between counts as not back
	if err != nil {
		return l, nil, err
	}
	m, err := g.memory(i)
	l.bytes = int64(m.used)
	for _, used := range list {
		if l.known {
			l.bytes -= used
		}
	}
	return l, list, err
}

// Levels are those of all GPUs at this moment, to be compared with Back.
func (g *GPUs) Levels() (list []Level) {
	if g == nil {
		return nil
	}
	for i := range g.list {
		l, _, _ := g.level(i) // one that cannot be seen is seen by Back
		list = append(list, l)
	}
	return list
}

// The driver gives memory back in pieces, and may keep some of the first context.
const levelSlack = 64 << 20

// Back waits until what a process had of the GPUs is free again, which takes the
// driver up to seconds after the process is gone: until none lists it, and what is
// in use without a process is no more than it was before, at first. It looks every
// 250 ms. When ctx is done first, or a GPU cannot be seen, the error names the GPU.
func (g *GPUs) Back(ctx context.Context, pid int, first []Level) error {
	if g == nil {
		return nil
	}
	for i := range g.list {
		if err := g.back(ctx, i, pid, first[i]); err != nil {
			return err
		}
	}
	return nil
}

func (g *GPUs) back(ctx context.Context, i, pid int, first Level) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for last := int64(-1); ; {
		now, list, err := g.level(i)
		if err != nil {
			return err
		}
		_, listed := list[pid]
		rests := now.bytes <= first.bytes+levelSlack
		if !now.known || !first.known { // others may have come: then it is enough that it falls no more
			rests, last = rests || now.bytes == last, now.bytes
		}
		if !listed && rests {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &core.Fault{
				Kind:  core.InsufficientMemory,
				What:  fmt.Sprintf("GPU %d (%s) has not given back the memory of pid %d: %d MiB are in use by no process", i, g.list[i].name, pid, now.bytes>>20),
				Facts: []core.Fact{core.Number("device", int64(i)), core.Number("bytes", now.bytes)},
				Try:   "nvidia-smi shows who uses it",
			}
		}
	}
}
