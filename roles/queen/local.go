package queen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/beacon"
	"rbee/core/client"
	"rbee/core/lease"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

// local uses the hive that runs on this machine, or starts one. A hive of this user
// is known by its file, or at the usual port by the socket's owner: a stranger must
// not be lent a token.
func (f *fleet) local(ctx context.Context, name core.NodeName, say narrator) (*link, error) {
	for _, port := range f.portsHere() {
		l, err := f.borrow(ctx, name, port, f.here(), nil)
		if err == nil {
			if f.q.d.Mode == core.Persistent { // it ends with us
				l.after = f.lookHere
			}
			say.that(api.HiveStart, fmt.Sprintf("using the hive that runs on port %d", port))
			return l, nil
		}
		if !errors.Is(err, errNoHive) {
			say.that(api.Note, fmt.Sprintf("the hive on port %d cannot be used: %v", port, err))
		}
	}
	return f.startLocal(ctx, name, say)
}

// portsHere are where hives of this user may listen: the file tells of the last one.
func (f *fleet) portsHere() (ports []int) {
	if up, ok := beacon.Find(f.q.d.Settings.Paths.State, "hive"); ok {
		ports = append(ports, up.Port)
	}
	if !slices.Contains(ports, hivePort) && secure.Ours(hivePort) {
		ports = append(ports, hivePort)
	}
	return ports
}

func (f *fleet) startLocal(ctx context.Context, name core.NodeName, say narrator) (*link, error) {
	ln, moved, err := cmdline.NextFree(ctx, hivePort)
	if err != nil {
		return nil, err
	}
	port := cmdline.Port(ln)
	if moved {
		say.that(api.Note, fmt.Sprintf("port %d is taken, the hive is on %d", hivePort, port))
	}
	args := append([]string{"daemon"}, f.q.hiveArgs...)
	for _, dir := range f.q.dirs {
		args = append(args, "--models-dir", dir)
	}
	child, err := lease.Start(lease.Spec{
		Name: "rbee-hive", Args: args, Run: f.q.d.Instance, Listener: ln, Log: f.q.d.LogTo,
		Boot: f.boot(name, f.here()),
	})
	if err != nil {
		return nil, &core.Fault{Kind: core.Internal, What: err.Error(), Cause: err}
	}
	l := &link{
		id: secure.RandomID(), node: name, gone: child.Done(), held: &holds{}, pid: child.Proc.PID,
		hive: client.New(fmt.Sprintf("http://127.0.0.1:%d", port), client.Options{Token: f.q.token}),
	}
	l.held.add(func() { <-child.Done() }) // its watchdog sees to that
	l.held.add(func() { _ = child.Lease.Close() })
	l.held.add(l.hive.Close)
	grace := lease.Grace{Term: f.q.d.Settings.Limits.HiveStop()}
	l.after = f.lookHere
	l.end = func(ctx context.Context, e *api.Ended) {
		there := lease.Count("", 0, child.Proc)
		e.Hive = string(child.Stop(ctx, nil, grace))
		e.Gone = api.Gone{Processes: len(there.Procs), Ports: there.Ports()} // what is left is the keeper's to say
	}
	if l.info, err = f.awaitHealth(ctx, l.hive, child.Done(), child.Err); err != nil {
		child.Stop(context.WithoutCancel(ctx), nil, grace)
		l.held.drop()
		return nil, err
	}
	say.that(api.HiveStart, fmt.Sprintf("hive up on %s", name))
	return l, nil
}

// awaitHealth polls until the hive answers; its early end is seen at once.
func (f *fleet) awaitHealth(ctx context.Context, c *client.Client, gone <-chan struct{}, why func() error) (api.Health, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.q.d.Settings.Limits.HiveUp, &core.Fault{Kind: core.ConnectionTimeout, What: "the hive does not come up"})
	defer cancel()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		h, err := c.Health(ctx)
		if err == nil {
			return h, nil
		}
		select {
		case <-gone:
			return h, &core.Fault{Kind: core.NodeUnreachable, What: fmt.Sprintf("the hive ended as soon as it was started: %v", why())}
		case <-ctx.Done():
			return h, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// errNoHive says that no hive answers that could be borrowed.
var errNoHive = errors.New("queen: no persistent hive of this version")

// borrow takes a lease on a hive that somebody else started, which the caller has
// found to be of the same user. The end of the lease's answer is the hive's.
func (f *fleet) borrow(ctx context.Context, name core.NodeName, port int, queenURL string, dial dialer) (*link, error) {
	c := client.New(fmt.Sprintf("http://127.0.0.1:%d", port), client.Options{Token: f.q.operator, DialContext: dial})
	l := &link{id: secure.RandomID(), node: name, hive: c, lease: secure.RandomID(), held: &holds{}}
	l.held.add(c.Close)
	joined := make(chan struct{})
	l.joined, l.hasJoined = joined, sync.OnceFunc(func() { close(joined) })
	probe, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var err error
	if l.info, err = c.Health(probe); err != nil || l.info.Role != "hive" || l.info.Mode != core.Persistent {
		l.held.drop()
		return nil, errNoHive
	}
	if l.info.Version != core.Version { // others may be at work with it
		l.held.drop()
		return nil, fmt.Errorf("it is of version %s, this is %s; it is left alone: %w", l.info.Version, core.Version, core.VersionMismatch)
	}
	if f.linked(l.info.ID) { // by another name of its machine
		l.held.drop()
		return nil, errNoHive
	}
	if err := f.hold(ctx, l, f.boot(name, queenURL)); err != nil {
		l.held.drop()
		return nil, err
	}
	return l, nil
}

// hold makes the lease of a borrowed hive and keeps it.
func (f *fleet) hold(ctx context.Context, l *link, boot lease.Boot) error { //nolint:contextcheck // the lease lives as long as the link, not the task
	r, w := io.Pipe()
	beating, quiet := context.WithCancel(f.base)
	l.held.add(quiet)
	l.held.add(func() { _ = w.Close() })
	beat := f.q.d.Settings.Limits.Beat
	l.held.run.Go(func() {
		if holder, err := lease.Hold(w, boot); err == nil {
			_ = holder.Beat(beating, beat) // its end is the hive's, which is seen below
		}
	})
	answer, err := l.hive.Lease(ctx, l.lease, r)
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	l.gone = gone
	l.held.add(func() { _ = answer.Close() })
	l.held.run.Go(func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, answer)
	})
	l.end = func(ctx context.Context, e *api.Ended) {
		e.Hive = "lives on"
		if f.q.d.Mode == core.Persistent { // it is of our pool, and ends with us
			e.Hive = string(lease.Asked)
			if err := l.hive.Shutdown(ctx); err != nil {
				e.Error = err.Error()
			}
		}
		quiet()
		_ = w.Close()
		select {
		case <-l.gone: // the hive has ended our workers
		case <-ctx.Done():
			if e.Left, e.Error = e.Workers, "the hive does not say that our workers have ended"; f.q.d.Mode == core.Persistent {
				e.Left++ // itself
			}
		}
	}
	return nil
}
