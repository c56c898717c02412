package fetch_test

import (
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rbee/catalog/fetch/hubtest"
)

// A synthetic file has its place in each of its words: large, and nowhere.
type synthetic struct{ size int64 }

func (s synthetic) ReadAt(b []byte, off int64) (int, error) {
	n := int(min(int64(len(b)), s.size-off))
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], uint64(off)+uint64(i))
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// BenchmarkPull fetches 2 GiB over loopback in a process of its own, and says how much
// memory that took; "curl" fetches the same. The hub does not say the hash.
func BenchmarkPull(b *testing.B) {
	const size = 2 << 30
	server := hubtest.New(b)
	server.AddReader(repo, name, synthetic{size}, size, strings.Repeat("-", 64)) // no hash
	hub := server.URL
	b.Run("curl", func(b *testing.B) {
		curl, err := exec.LookPath("curl")
		if err != nil {
			b.Skip("no curl here")
		}
		out := filepath.Join(b.TempDir(), "curl.gguf")
		b.SetBytes(size)
		for b.Loop() {
			if text, err := exec.Command(curl, "-sSfL", "-o", out, hub+"/"+repo+"/resolve/main/"+name).CombinedOutput(); err != nil {
				b.Fatalf("%v %s", err, text)
			}
			_ = os.Remove(out)
		}
	})
	b.Run("fetch", func(b *testing.B) {
		dir := b.TempDir()
		exe, err := os.Executable()
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(size)
		grown := int64(0)
		for b.Loop() {
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), childMark+"="+hub+"/"+repo+"/resolve/main/"+name+" "+dir+" - -1", memoryMark+"=1")
			out, err := cmd.Output()
			if err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			lines := strings.Fields(string(out))
			n, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			grown = max(grown, n)
			_ = os.Remove(lines[len(lines)-2])
		}
		b.ReportMetric(float64(grown)/mega, "MiB-grown")
	})
}

// residentBytes is the most memory that this process had at once.
func residentBytes(b []byte) int64 {
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}
