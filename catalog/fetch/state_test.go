package fetch_test

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"rbee/catalog/fetch"
)

func FuzzState(f *testing.F) {
	whole := fetch.AState(100, [2]int64{0, 10}, [2]int64{20, 30})
	for _, n := range []int{0, 1, 20, 60, 120, len(whole) / 2, len(whole)} {
		f.Add(whole[:min(n, len(whole))])
	}
	f.Add([]byte(`{"state":{"size":-5},"crc32":0}`))
	f.Add([]byte(`{"state":null,"crc32":1996959894}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if same, err := fetch.CheckState(b); err == nil && !same {
			t.Errorf("%q is another state when it is written and read", b)
		}
	})
}

// A state that was not written whole is not believed.
func TestTornState(t *testing.T) {
	one, two := fetch.AState(100, [2]int64{0, 19}), fetch.AState(100, [2]int64{0, 20})
	if same, err := fetch.CheckState(one); err != nil || !same {
		t.Fatalf("a whole one: %v, %v", same, err)
	}
	torn := 0
	for n := range one {
		mixed := string(two[:n]) + string(one[n:])
		if mixed == string(one) || mixed == string(two) {
			continue
		}
		torn++
		if _, err := fetch.CheckState([]byte(mixed)); err == nil {
			t.Errorf("two states, mixed at byte %d, are believed", n)
		}
	}
	if torn == 0 {
		t.Error("nothing was mixed")
	}
}

func TestRebooted(t *testing.T) {
	tests := map[string]struct {
		boot            string
		durable         int64
		trusted, hashed int64
	}{
		"the same run of the machine": {"one", 10, 60, 40},
		"it went down":                {"two", 10, 10, 0},
		"before anything was synced":  {"two", 0, 0, 0},
		"it does not say":             {"", 10, 10, 0},
	}
	for what, tt := range tests {
		if trusted, hashed := fetch.Rebooted(tt.boot, tt.durable); trusted != tt.trusted || hashed != tt.hashed {
			t.Errorf("%s: %d bytes trusted, %d hashed, want %d, %d", what, trusted, hashed, tt.trusted, tt.hashed)
		}
	}
}

// Spans agree with one mark for each byte.
func TestSpans(t *testing.T) {
	const size = 40
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 0))
		var marks [size]bool
		var done [][2]int64
		for range r.IntN(8) {
			from := r.Int64N(size)
			to := from + r.Int64N(size-from+1)
			done = append(done, [2]int64{from, to})
			for i := from; i < to; i++ {
				marks[i] = true
			}
		}
		most := r.Int64N(9) + 1
		bytes, front, gaps := fetch.Spans(size, most, done...)
		at := int64(0)
		for _, g := range gaps {
			if g[0] < at || g[1] <= g[0] || g[1]-g[0] > most {
				t.Fatalf("seed %d: gaps %v", seed, gaps)
			}
			for at = g[0]; at < g[1]; at++ {
				if marks[at] {
					t.Fatalf("seed %d: byte %d is in a gap", seed, at)
				}
				marks[at] = true
				bytes++
			}
		}
		for i, mark := range marks {
			if !mark {
				t.Fatalf("seed %d: byte %d is in no gap", seed, i)
			}
		}
		if bytes != size || front > 0 && len(gaps) > 0 && gaps[0][0] != front {
			t.Fatalf("seed %d: %d bytes, front %d, gaps %v", seed, bytes, front, gaps)
		}
	}
}

// Waits double, are uneven, and heed the server within reason.
func TestBackoff(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := map[string]struct {
		tries       int
		after       string
		least, most time.Duration
	}{
		"first":               {1, "", 50 * time.Millisecond, 150 * time.Millisecond},
		"fifth":               {5, "", 800 * time.Millisecond, 2400 * time.Millisecond},
		"seconds":             {1, "7", 7 * time.Second, 7 * time.Second},
		"a date":              {1, now.Add(9 * time.Second).Format(http.TimeFormat), 9 * time.Second, 9 * time.Second},
		"a date that is past": {1, now.Add(-time.Hour).Format(http.TimeFormat), 50 * time.Millisecond, 150 * time.Millisecond},
		"less than we wait":   {5, "0", 800 * time.Millisecond, 2400 * time.Millisecond},
		"tomorrow":            {1, "86400", 2 * time.Minute, 2 * time.Minute},
		"no time":             {1, "soon", 50 * time.Millisecond, 150 * time.Millisecond},
		"beyond all numbers":  {1, "999999999999999999999", 50 * time.Millisecond, 2 * time.Minute},
	}
	for what, tt := range tests {
		seen := map[time.Duration]bool{}
		for range 20 {
			got := fetch.Pause(tt.tries, http.Header{"Retry-After": {tt.after}}, now)
			if got < tt.least || got > tt.most {
				t.Errorf("%s: waits %v, want %v to %v", what, got, tt.least, tt.most)
			}
			seen[got] = true
		}
		if tt.least != tt.most && len(seen) < 2 {
			t.Errorf("%s: always waits the same", what)
		}
	}
}
