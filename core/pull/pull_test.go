package pull_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/pull"
)

// until waits for the end of its context and says how often it was run.
func until(runs *atomic.Int32) pull.Run {
	return func(ctx context.Context, p *pull.Pull) (api.PullStage, error) {
		runs.Add(1)
		p.Say(api.PullStage{Stage: api.StageDownloading, Note: "chosen", Total: 10})
		p.Say(api.PullStage{Stage: api.StageDownloading, Done: 5})
		<-ctx.Done()
		return api.PullStage{}, errors.New("broken off")
	}
}

// Two who want the same have one download; it ends when both have left.
func TestJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		ps := pull.New[string](t.Context())
		first, _ := ps.Join("m", "hf:o/m", false, until(&runs))
		second, _ := ps.Join("m", "hf:o/m", true, until(&runs))
		other, _ := ps.Join("n", "hf:o/n", false, until(&runs))
		synctest.Wait()
		if runs.Load() != 2 || first != second || other == first || !first.Pinned() || other.Pinned() {
			t.Errorf("%d runs; the same pull: %v", runs.Load(), first == second)
		}
		if s := second.Now(); s.ModelRef != "hf:o/m" || s.Note != "chosen" || s.Done != 5 || s.Total != 10 {
			t.Errorf("stage %+v, want what was found out before, too", s)
		}
		ps.Leave(first)
		synctest.Wait()
		if s := second.Now(); s.Final() {
			t.Errorf("it ended although one wants it: %+v", s)
		}
		ps.Leave(second)
		var seen []string
		last, err := second.Follow(t.Context(), func(s api.PullStage) error { seen = append(seen, s.Stage); return nil })
		if seen = slices.Compact(seen); !slices.Equal(seen, []string{api.StageResolving, api.StageDownloading, api.StageFailed}) {
			t.Errorf("stages: %v", seen)
		}
		if err != nil || !errors.Is(last.Err(), core.DownloadFailed) || last.Error != pull.ErrUnwanted.What {
			t.Errorf("after the last has left: %+v, %v", last, err)
		}
		if again, _ := ps.Join("m", "hf:o/m", false, until(&runs)); again == first {
			t.Error("joined what had ended")
		}
		ps.End(&core.Fault{Kind: core.ShuttingDown, What: "the end"})
		if s := other.Now(); !errors.Is(s.Err(), core.ShuttingDown) {
			t.Errorf("after the end: %+v", s)
		}
		if _, err := ps.Join("m", "hf:o/m", false, until(&runs)); !errors.Is(err, core.ShuttingDown) {
			t.Errorf("joined after the end: %v", err)
		}
	})
}

// The last stage can be found for a minute.
func TestFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := pull.New[string](t.Context())
		p, _ := ps.Join("m", "hf:o/m", false, func(context.Context, *pull.Pull) (api.PullStage, error) {
			return api.PullStage{Stage: api.StageComplete, LocalPath: "/m"}, nil
		})
		last, err := p.Follow(t.Context(), func(api.PullStage) error { return nil })
		if err != nil || last.LocalPath != "/m" || last.Err() != nil {
			t.Errorf("last stage: %+v, %v", last, err)
		}
		if found, err := ps.Find(p.ID); found != p {
			t.Errorf("at its end: %v", err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, err := ps.Find(p.ID); !errors.Is(err, core.ModelNotFound) {
			t.Errorf("two minutes later: %v", err)
		}
	})
}
