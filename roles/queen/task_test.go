package queen

import (
	"context"
	"errors"
	"strings"
	"testing"

	"rbee/core/api"
)

// A log forgets its oldest events; who has not read them is told so.
func TestFollowOvertaken(t *testing.T) {
	long := &task{}
	for i := range 12 {
		long.say(&api.Token{Text: strings.Repeat("a", maxEvents/10), Index: i})
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
	log.say(&api.Token{Text: "a"})
	log.say(&api.End{})
	log.say(&api.Token{Text: "after the end"})
	var ids []int64
	for id := range got {
		ids = append(ids, id)
	}
	if len(ids) != 4 || ids[1] != 0 || ids[3] != 3 {
		t.Errorf("ids: %v", ids)
	}
}
