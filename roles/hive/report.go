package hive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/lease"
)

// A reporter tells the queen by whose lease the hive lives what the hive is and
// has. Only a persistent one wants to know: her registries are memory, and after a
// restart they are made of what hives report.
type reporter struct {
	h      *hive
	holder chan lease.Boot // the last one to hold the hive
	news   chan struct{}   // a worker has come or gone: that does not wait for the next heartbeat
}

func newReporter(h *hive) reporter {
	return reporter{h, make(chan lease.Boot, 1), make(chan struct{}, 1)}
}

// heldBy makes the holder the one to report to.
func (r *reporter) heldBy(b lease.Boot) {
	if b.Mode != core.Persistent || b.QueenURL == "" {
		return
	}
	for {
		select {
		case r.holder <- b:
			return
		case <-r.holder: // of one that came and went
		}
	}
}

// changed says that there is news.
func (r *reporter) changed() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// run reports to one holder after the other until ctx is done.
func (r *reporter) run(ctx context.Context) error {
	var stop context.CancelFunc = func() {}
	done := make(chan struct{})
	close(done)
	for {
		select {
		case <-ctx.Done():
			stop()
			<-done
			return nil
		case b := <-r.holder:
			stop()
			<-done
			var one context.Context
			one, stop = context.WithCancel(ctx)
			done = make(chan struct{})
			go func() {
				defer close(done)
				r.report(one, b)
			}()
		}
	}
}

// report joins and then tells what has changed, every time the queen wishes, and
// joins again when she does not know us.
func (r *reporter) report(ctx context.Context, b lease.Boot) {
	queen := client.New(b.QueenURL, client.Options{Token: b.Token})
	defer queen.Close()
	var told api.Report // nothing: the next report joins
	every := r.h.d.Settings.Limits.Heartbeat
	for pause := 50 * time.Millisecond; ; {
		now := r.h.describe(ctx, b)
		joined, err := r.say(ctx, queen, told, now)
		wait := every
		switch {
		case err == nil:
			told, pause = now, 50*time.Millisecond
			if joined.HeartbeatMS > 0 {
				every = time.Duration(joined.HeartbeatMS) * time.Millisecond
				wait = every
			}
		case errors.Is(err, core.NodeNotFound):
			told = api.Report{}
			fallthrough
		default:
			r.h.d.Log.Debug("no report", "error", err.Error())
			wait = pause/2 + rand.N(pause)
			pause = min(2*pause, every)
		}
		if !r.wait(ctx, wait, err == nil) {
			return
		}
	}
}

// wait waits, but for news only if the last report was heard.
func (r *reporter) wait(ctx context.Context, d time.Duration, heard bool) bool {
	news := r.news
	if !heard {
		news = nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-news:
	case <-ctx.Done():
		return false
	}
	return true
}

// say makes one report.
func (r *reporter) say(ctx context.Context, queen *client.Client, told, now api.Report) (api.Joined, error) {
	ctx, cancel := context.WithTimeout(ctx, r.h.d.Settings.Limits.Heartbeat)
	defer cancel()
	if told.ID == "" {
		return queen.Join(ctx, now)
	}
	return queen.Heartbeat(ctx, delta(told, now))
}

// delta is now without what told has already.
func delta(told, now api.Report) api.Report {
	out := api.Report{ID: now.ID, Node: now.Node}
	if !same(told.Devices, now.Devices) {
		out.Devices = now.Devices
	}
	if told.DiskFreeBytes != now.DiskFreeBytes {
		out.DiskFreeBytes = now.DiskFreeBytes
	}
	if !same(told.Workers, now.Workers) {
		out.Workers = now.Workers
	}
	if !same(told.Models, now.Models) {
		out.Models = now.Models
	}
	return out
}

// same compares as the wire does.
func same(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// describe is all of this hive as its holder may know it: workers that others have
// lent it for belong to them.
func (h *hive) describe(ctx context.Context, b lease.Boot) api.Report {
	has := h.has()
	r := api.Report{
		ID: h.id, Node: core.NodeName(b.Node), URL: h.url, Version: has.Version,
		Devices: has.Devices, DiskFreeBytes: has.DiskFreeBytes, Workers: []api.Worker{}, Models: []api.Model{},
	}
	for _, v := range h.views(ctx, "").Workers {
		if h.nursery.lent(v.ID) {
			continue
		}
		r.Workers = append(r.Workers, v)
	}
	if all, err := h.models(ctx); err == nil {
		r.Models = all
	}
	return r
}
