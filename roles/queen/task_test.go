package queen

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rbee/core"
	"rbee/core/api"
)

// A log forgets its oldest events; who has not read them is told so.
func TestFollowOvertaken(t *testing.T) {
	long := &task{}
	for range 12 {
		long.say(&api.Sealed{Data: []byte(strings.Repeat("a", maxEvents/10))})
	}
	long.say(&api.End{})
	count := func(last int64) (n int, err error) {
		err = long.follow(t.Context(), last, func(api.Numbered) error { n++; return nil })
		return n, err
	}
	if n, err := count(0); !errors.Is(err, errOvertaken) || n != 0 {
		t.Errorf("from the start: %d events, %v", n, err)
	}
	if n, err := count(10); err != nil || n != 3 {
		t.Errorf("from what is kept: %d events, %v", n, err)
	}
}

// Events without a text have a size, too.
func TestLogIsBounded(t *testing.T) {
	var log task
	for range maxEvents {
		log.say(&api.Metrics{})
	}
	if n := len(log.events); n > maxEvents/weight(&api.Metrics{}) {
		t.Errorf("%d events are kept", n)
	}
}

// Who reads while the events come has them all.
func TestFollow(t *testing.T) {
	var log task
	ready, got := make(chan struct{}), make(chan int64, 10)
	go func() {
		defer close(got)
		_ = log.follow(context.Background(), 0, func(ev api.Numbered) error {
			if ev.ID == 1 {
				close(ready)
			}
			got <- ev.ID
			return nil
		})
	}()
	log.say(&api.Started{})
	<-ready
	log.say(&api.Comment{Text: "x"})
	log.say(&api.Sealed{Data: []byte(`{"t":"a","i":4}`)})
	log.say(&api.End{})
	log.say(&api.Sealed{})
	var ids []int64
	for id := range got {
		ids = append(ids, id)
	}
	if len(ids) != 4 || ids[1] != 0 || ids[3] != 3 {
		t.Errorf("ids: %v", ids)
	}
	if s := log.state(); s.TokensOut != 5 || s.State != "done" {
		t.Errorf("state: %+v", s)
	}
}

// What is said more seldom than the limit allows is found, and nothing else is.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, beat := stall(t.Context(), time.Minute, core.InferenceStalled, "it says nothing")
		defer beat(0)
		for range 10 {
			time.Sleep(50 * time.Second)
			beat(time.Minute)
		}
		time.Sleep(20 * time.Second)
		beat(10 * time.Second) // less than before
		time.Sleep(9 * time.Second)
		if synctest.Wait(); ctx.Err() != nil {
			t.Fatal("it ended though it was heard")
		}
		time.Sleep(time.Second)
		if synctest.Wait(); !errors.Is(context.Cause(ctx), core.InferenceStalled) {
			t.Errorf("after the limit: %v", context.Cause(ctx))
		}
	})
}
