package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"rbee/core"
)

// Options say where files go and how they are fetched. Zeros stand for the values of
// the comments.
type Options struct {
	Dir       string       // of the files; made when it is not there
	HTTP      *http.Client // of plans without one; http.DefaultClient
	Log       *slog.Logger // nothing is logged
	Bandwidth int64        // bytes per second of all downloads together; no limit

	Ranges    int           // of one file at once; 4
	RangeSize int64         // bytes of one; a 64th of the file, 8 to 64 MiB
	Stall     time.Duration // without a byte, before a range is asked for again; 60 s
	Tries     int           // without a byte between them, before a range is given up; 6
	Backoff   time.Duration // before the second try, doubled before each further one; 100 ms
	Every     time.Duration // between two reports of progress; 200 ms
}

const (
	mebi = 1 << 20

	bufferSize = 256 << 10 // bytes of one read
	minRange   = 8 * mebi
	maxRange   = 64 * mebi
	maxPieces  = 1 << 16 // of one file, whatever its size is said to be
	maxSize    = 1 << 50 // bytes of one file
	maxName    = 240     // bytes of a part's name: file systems take 255, and what is damaged gets a suffix
)

func (o Options) withDefaults() Options {
	o.HTTP = cmp.Or(o.HTTP, http.DefaultClient)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Ranges = cmp.Or(o.Ranges, 4)
	o.Stall = cmp.Or(o.Stall, time.Minute)
	o.Tries = cmp.Or(o.Tries, 6)
	o.Backoff = cmp.Or(o.Backoff, 100*time.Millisecond)
	o.Every = cmp.Or(o.Every, 200*time.Millisecond)
	return o
}

// A Fetcher fetches files into one directory. Its method may be called at once: who
// asks for a file that is on its way gets the same download.
type Fetcher struct {
	o      Options
	limit  *rate.Limiter // nil: none
	buffer int           // bytes of one read

	mu      sync.Mutex // guards flights and pulls
	flights map[string]*flight
	pulls   map[*pull]bool // that write to the disk
}

// New returns a fetcher. It has nothing to close: what it does ends with the calls of
// Fetch.
func New(o Options) *Fetcher {
	f := &Fetcher{o: o.withDefaults(), buffer: bufferSize, flights: map[string]*flight{}, pulls: map[*pull]bool{}}
	if o.Bandwidth > 0 {
		f.buffer = int(min(bufferSize, max(o.Bandwidth/4, 1<<10)))
		f.limit = rate.NewLimiter(rate.Limit(o.Bandwidth), f.buffer)
	}
	return f
}

// Fetch brings the files of a plan here, one after the other, and returns where they
// are: <sha256>.gguf, or of a plan of several files <sha256 of the first>.parts/<name>.
// What is here already is not fetched. say is called from the goroutine of the caller,
// and not after the end. When ctx ends, the download ends, unless another caller waits
// for the same file; what has arrived stays, and the next Fetch goes on from there.
func (f *Fetcher) Fetch(ctx context.Context, plan Plan, say func(Progress)) ([]Result, error) {
	if err := os.MkdirAll(f.o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	t := newTeller(plan, say)
	var results []Result
	for i := range plan.Files {
		j, err := f.job(plan, i, results)
		if err != nil {
			return nil, err
		}
		r, err := f.join(ctx, j, t)
		if err != nil {
			return nil, err
		}
		t.finished(r.Size)
		results = append(results, r)
	}
	return results, nil
}

// A job is one file of a plan, and where it goes.
type job struct {
	File
	ref    core.ModelRef
	client *http.Client
	key    string                  // of the part
	place  func(sum string) string // path of the whole file
}

func (f *Fetcher) job(plan Plan, i int, before []Result) (*job, error) {
	j := &job{File: plan.Files[i], ref: plan.Ref, client: cmp.Or(plan.HTTP, f.o.HTTP)}
	if j.SHA256 != "" && !isSum(j.SHA256) {
		return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("%s: %.80q is no SHA-256", plan.Ref, j.SHA256)}
	}
	if strings.ContainsAny(j.Name, "/\x00") || j.Name == "" || strings.HasPrefix(j.Name, ".") || len(plan.Files) > 1 && len(j.Name) > maxName {
		return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("%s: %.80q is no name of a file here", plan.Ref, j.Name)}
	}
	name := sha256.Sum256([]byte(string(plan.Ref) + "\x00" + plan.Revision + "\x00" + j.Name))
	j.key = cmp.Or(j.SHA256, hex.EncodeToString(name[:]))
	j.place = func(sum string) string {
		switch {
		case len(plan.Files) == 1:
			return filepath.Join(f.o.Dir, sum+".gguf")
		case i > 0:
			sum = before[0].SHA256
		}
		return filepath.Join(f.o.Dir, sum+".parts", j.Name)
	}
	return j, nil
}

// here returns the file with the hash when it is in its place, by its name and size.
// Files get there only whole and verified.
func (j *job) here(sum string) (Result, bool) {
	if sum == "" {
		return Result{}, false
	}
	path := j.place(sum)
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || j.Size >= 0 && info.Size() != j.Size {
		return Result{}, false
	}
	return Result{Name: j.Name, Path: path, Size: info.Size(), SHA256: sum}, true
}
