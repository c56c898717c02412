package queen

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/serve"
	"rbee/registry"
)

// joinHive is POST /v2/hives/join: a hive that we hold says all of itself. What we
// know of its workers is made of this after a restart.
func (q *queen) joinHive(c echo.Context) error {
	var r api.Report
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	if err := core.CheckID("hive_id", r.ID); err != nil {
		return err
	}
	l, err := q.fleet.find(r.Node)
	if err == nil && l == nil {
		err = &core.Fault{Kind: core.NodeNotFound, What: "node " + string(r.Node) + " is not held by this queen", Try: "again in a moment"}
	}
	if err != nil {
		return err
	}
	h := registry.Hive{ID: r.ID, Node: r.Node, Version: r.Version}
	q.take(l, &h, r)
	q.hives.Join(h)
	if l.hasJoined != nil {
		l.hasJoined()
	}
	q.d.Log.Info("hive joined", "node", string(r.Node), "hive", r.ID, "workers", len(r.Workers))
	return c.JSON(http.StatusOK, q.joined(r.ID))
}

// heartbeat is POST /v2/hives/{id}/heartbeat: what has changed of a hive.
func (q *queen) heartbeat(c echo.Context) error {
	var r api.Report
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	id := c.Param("id")
	known, err := q.hives.Find(id)
	if err != nil {
		return err
	}
	l, err := q.fleet.find(known.Node)
	if err != nil {
		return err
	}
	if l == nil { // its link has just ended
		q.hives.Leave(id)
		return &core.Fault{Kind: core.NodeNotFound, What: "node " + string(known.Node) + " is not held by this queen", Try: "join again"}
	}
	if err := q.hives.Update(id, func(h *registry.Hive) { q.take(l, h, r) }); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, q.joined(id))
}

func (q *queen) joined(id string) api.Joined {
	return api.Joined{ID: id, HeartbeatMS: q.d.Settings.Limits.Heartbeat.Milliseconds()}
}

// take puts a report into what is known.
func (q *queen) take(l *link, h *registry.Hive, r api.Report) {
	h.Seen = time.Now()
	if r.Devices != nil {
		h.Devices = r.Devices
	}
	if r.DiskFreeBytes != 0 {
		h.DiskFreeBytes = r.DiskFreeBytes
	}
	if r.Models != nil {
		h.Models = known(r.Models)
	}
	if r.Workers != nil {
		q.pool.known.Report(l.id, readyOf(l.node, r.Workers))
	}
}

// known are the models of a list as they are remembered.
func known(list []api.Model) map[core.ModelRef]registry.Model {
	all := map[core.ModelRef]registry.Model{}
	for _, m := range list {
		one := registry.Model{Size: m.SizeBytes, SHA256: m.SHA256, Revision: m.Revision}
		for _, f := range m.Files {
			one.Files = append(one.Files, registry.File{Name: f.Name, Size: f.SizeBytes, SHA256: f.SHA256})
		}
		all[m.Ref] = one
	}
	return all
}

// readyOf are the workers of a report that can be given work.
func readyOf(node core.NodeName, list []api.Worker) (ready []registry.Worker) {
	for _, v := range list {
		_, err := portOf(v.URL)
		if v.State != api.Idle && v.State != api.Busy || err != nil || core.CheckID("worker_id", string(v.ID)) != nil {
			continue
		}
		ready = append(ready, registry.Worker{
			ID: v.ID, Node: node, URL: v.URL, Slots: v.SlotsTotal, Memory: max(v.MemoryBytes, v.NeedsBytes),
			Shape: registry.Shape{Model: v.ModelRef, Backend: v.Backend, Device: v.Device, ContextLength: v.ContextLength, Threads: v.Threads},
		})
	}
	return ready
}

// health is what is to be thought of a node by what its hive has last said. A hive
// that does not report is held, and that is all there is to know.
func (q *queen) health(node core.NodeName) (registry.Hive, registry.Health) {
	h, joined := q.hives.OfNode(node)
	if !joined {
		return h, registry.Up
	}
	limits := q.d.Settings.Limits
	return h, registry.Silence{Suspect: limits.Suspect, Gone: limits.Gone}.Of(h, time.Now())
}
