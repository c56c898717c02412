package queen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/serve"
	"rbee/roles/cmdline"
)

// logs is GET /v2/logs?node=&worker=&follow=: the last lines of the queen and of all
// she has started, of a node's hive, or of one worker.
func (q *queen) logs(c echo.Context) error {
	follow := c.QueryParam("follow") == "true"
	l, worker, err := q.loggers(core.NodeName(c.QueryParam("node")), core.WorkerID(c.QueryParam("worker")))
	if err != nil {
		return err
	}
	return serve.Lines(c, "text/plain; charset=utf-8", func(ctx context.Context, line func([]byte) error) error {
		ctx, stop := q.d.Until(ctx)
		defer stop()
		if l == nil {
			return q.d.LogTo.Read(ctx, follow, line)
		}
		return l.hive.Logs(ctx, worker, follow, line)
	})
}

// loggers finds whose logs are asked for; nil is the queen herself.
func (q *queen) loggers(node core.NodeName, worker core.WorkerID) (*link, core.WorkerID, error) {
	if worker != "" {
		w, ok := q.pool.known.Find(worker)
		if !ok {
			return nil, "", &core.Fault{Kind: core.WorkerNotFound, What: fmt.Sprintf("worker %.80s is not there", worker), Try: "rbee ps"}
		}
		node = w.Node
	}
	if node == "" {
		return nil, "", nil
	}
	l, err := q.fleet.find(node)
	if err == nil && l == nil {
		err = &core.Fault{Kind: core.NodeNotFound, What: fmt.Sprintf("node %.80s has no hive now", node), Try: "rbee status"}
	}
	return l, worker, err
}

// shutdown is POST /v1/shutdown. A caller that accepts lines is told of each hive as
// it ends; the last line has "all".
func (q *queen) shutdown(c echo.Context) error {
	if !strings.Contains(c.Request().Header.Get(echo.HeaderAccept), api.MIMELines) {
		serve.Accepted(c)
		q.d.End(cmdline.ErrAsked)
		return nil
	}
	q.d.End(cmdline.ErrAsked)
	return serve.Lines(c, api.MIMELines, func(ctx context.Context, line func([]byte) error) error {
		return q.farewell.Read(ctx, true, func(b []byte) error {
			var e api.Ended
			err := line(b)
			if json.Unmarshal(b, &e) == nil && e.All {
				err = errors.Join(err, errLast)
			}
			return err
		})
	})
}

// errLast ends the reading of lines: there is no other.
var errLast = errors.New("queen: the last line")
