package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"rbee/core"
)

// A worker ends only when nobody has used it for as long as was asked.
func TestCloseIfIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j jobs
		j.idle() // from here on
		_, done, err := j.begin(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if j.close(time.Minute) {
			t.Error("closed with a job under way")
		}
		done()
		time.Sleep(59 * time.Second)
		if j.close(time.Minute) {
			t.Error("closed too early")
		}
		time.Sleep(time.Second)
		if !j.close(time.Minute) {
			t.Error("not closed after a minute")
		}
		if _, _, err := j.begin(t.Context(), "b"); !errors.Is(err, core.ShuttingDown) {
			t.Errorf("a job of a worker that ends: %v", err)
		}
	})
}

// A drain lets what runs come to its end, and nothing new begin.
func TestDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j jobs
		_, done, err := j.begin(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10*time.Second, done)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		j.drained(ctx)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("drained after %v", took)
		}
		if _, _, err := j.begin(t.Context(), "b"); !errors.Is(err, core.ShuttingDown) {
			t.Errorf("a job of a worker that ends: %v", err)
		}
	})
}
