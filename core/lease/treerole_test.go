package lease_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"rbee/core"
	"rbee/core/lease"
	"rbee/core/remote"
)

// The processes of a tree: a top holds a middle, through a pipe or over SSH, and
// the middle holds a leaf, as a queen, a hive and a worker do. SIGUSR1 makes any of
// them exit at once without a word to the others; SIGUSR2 makes the top release the
// middle. What happens is noted as files in --dir: ROLE.up holds the process,
// ROLE.end the cause of its orderly end, leaf.gone what the middle saw of the leaf.

// errAsked is the cause of an end that POST /v1/shutdown brought.
var errAsked = errors.New("asked over HTTP")

// A player is one process of a tree, by its flags.
type player struct {
	role          string
	dir, run      string
	hang, ssh     string
	lease, listen string
	terms         lease.Terms
	proc          lease.Proc
}

// play makes this process the role that the first argument names, and returns its exit status.
func play() int {
	p := player{role: os.Args[1]}
	f := flag.NewFlagSet(p.role, flag.ContinueOnError)
	f.StringVar(&p.dir, "dir", "", "where events are noted")
	f.StringVar(&p.run, "run", "", "the mark of all that is started")
	f.StringVar(&p.hang, "hang", "", "how the leaf hangs: call, spin or stuck")
	f.StringVar(&p.ssh, "ssh", "", "ssh_config with the alias node: start the middle there")
	f.StringVar(&p.lease, "lease", "", "fd:N or stdin")
	f.StringVar(&p.listen, "listen", "", "fd:N")
	f.DurationVar(&p.terms.Beat, "beat", 100*time.Millisecond, "")
	f.DurationVar(&p.terms.BeatLost, "beat-lost", time.Second, "")
	f.DurationVar(&p.terms.EOFGrace, "eof-grace", 0, "")
	f.DurationVar(&p.terms.End, "end", 8*time.Second, "")
	f.IntVar(&p.proc.PID, "pid", 0, "")
	f.Uint64Var(&p.proc.Started, "started", 0, "")
	argv := os.Args[2:]
	if p.role == "hive" { // as Conn.Kill calls it: hive stop --pid P --started T
		argv = argv[1:]
	}
	if err := f.Parse(argv); err != nil {
		return 2
	}
	if err := lease.SetName(p.role); err != nil {
		return fail(err)
	}
	go crash()
	switch p.role {
	case "top":
		return p.top()
	case "hive":
		return p.stop()
	}
	return p.daemon()
}

// crash exits on SIGUSR1, as a bug would.
func crash() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	<-c
	os.Exit(3)
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "Error:", err)
	return 1
}

// args are the flags that a role passes down.
func (p player) args(role string) []string {
	return []string{
		role, "--dir", p.dir, "--run", p.run, "--hang", p.hang, "--beat", p.terms.Beat.String(),
		"--beat-lost", p.terms.BeatLost.String(), "--eof-grace", p.terms.EOFGrace.String(), "--end", p.terms.End.String(),
	}
}

// note writes an event whole or not at all.
func (p player) note(name string, v any) {
	b, _ := json.Marshal(v)
	tmp := filepath.Join(p.dir, fmt.Sprintf(".%s.%d", name, os.Getpid()))
	if err := os.WriteFile(tmp, b, 0o600); err == nil {
		os.Rename(tmp, filepath.Join(p.dir, name))
	}
}

// stop is the helper that Conn.Kill runs: a SIGTERM to exactly that process.
func (p player) stop() int {
	if err := p.proc.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, lease.ErrNotThere) {
		return fail(err)
	}
	return 0 // gone already is as good
}

// A holding is the middle as the top sees it, wherever it runs.
type holding interface {
	Done() <-chan struct{}
	Err() error
}

// top starts the middle and ends it when it is told to end.
func (p player) top() int {
	ctx, done := lease.Signals(context.Background())
	defer done()
	start := p.local
	if p.ssh != "" {
		start = p.remote
	}
	middle, holder, end, err := start(ctx)
	if err != nil {
		return fail(err)
	}
	me, _ := lease.Find(os.Getpid())
	p.note("top.up", me)
	go p.release(holder)
	select {
	case <-middle.Done():
		return fail(fmt.Errorf("the middle ended: %w", middle.Err()))
	case <-ctx.Done():
	}
	p.note("top.end", fmt.Sprint(context.Cause(ctx), ": middle ", end()))
	return lease.ExitStatus(context.Cause(ctx))
}

// local starts the middle as a child.
func (p player) local(context.Context) (holding, *lease.Holder, func() lease.Step, error) {
	c, err := lease.Start(lease.Spec{Name: "tree-middle", Args: p.args("middle"), Run: p.run, Boot: lease.Boot{Mode: core.Persistent}, Log: os.Stderr})
	if err != nil {
		return nil, nil, nil, err
	}
	end := func() lease.Step {
		return c.Stop(context.Background(), nil, lease.Grace{Term: p.terms.End + time.Second})
	}
	return c, c.Lease, end, nil
}

// remote starts the middle over SSH and beats.
func (p player) remote(ctx context.Context) (holding, *lease.Holder, func() lease.Step, error) {
	node, err := remote.Resolve(ctx, "node", p.ssh)
	if err != nil {
		return nil, nil, nil, err
	}
	conn, err := remote.Dial(ctx, node, 10*time.Second)
	if err != nil {
		return nil, nil, nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	argv := append([]string{exe}, p.args("middle")...)
	far, err := conn.Start(ctx, append(argv, "--lease", "stdin"), p.run, lease.Boot{Mode: core.Persistent}, os.Stderr)
	if err != nil {
		return nil, nil, nil, err
	}
	go far.Lease.Beat(context.WithoutCancel(ctx), p.terms.Beat) // to the end of the process: ending in order is living, too
	return far, far.Lease, func() lease.Step { return p.endFar(conn, far, exe) }, nil
}

// endFar ends the middle on the node by a SIGTERM that our own program sends there.
func (p player) endFar(conn *remote.Conn, far *remote.Process, exe string) lease.Step {
	var middle lease.Proc // what a queen learns from the hive's /health
	b, _ := os.ReadFile(filepath.Join(p.dir, "middle.up"))
	json.Unmarshal(b, &middle)
	ctx, cancel := context.WithTimeout(context.Background(), p.terms.End+2*time.Second)
	defer cancel()
	defer conn.Close() // whatever is left sees the end of its lease
	step := lease.Termed
	if _, err := conn.Kill(ctx, exe, middle); err != nil {
		step = lease.Step(err.Error())
	}
	select {
	case <-far.Done():
		return step
	case <-ctx.Done():
		return "not in time"
	}
}

// release lets the middle live on its own after SIGUSR2.
func (p player) release(h *lease.Holder) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	<-c
	if err := h.Release(); err == nil {
		p.note("released", true)
	}
}

// daemon is the middle and the leaf: both live by a lease, serve, and end in
// order; the middle has a leaf to end first.
func (p player) daemon() int {
	signals, done := lease.Signals(context.Background())
	defer done()
	log := lease.NewLog(1000)
	go log.Run(os.Stderr)
	defer log.Flush(100 * time.Millisecond)
	dog, err := lease.NewWatchdog()
	if err != nil {
		return fail(err)
	}
	carrier, err := lease.Open(p.lease)
	if err != nil {
		return fail(err)
	}
	l := lease.New(p.terms, dog)
	held, giveUp := l.Held(signals, carrier)
	defer giveUp()
	if carrier != nil {
		if _, err := l.Boot(held); err != nil {
			return fail(err)
		}
	}
	ctx, asked := context.WithCancelCause(held)
	srv, url, err := p.serve(ctx, l, log, asked)
	if err != nil {
		return fail(err)
	}
	defer srv.Close()
	end := func() lease.Step { return "alone" }
	if p.role == "middle" {
		if end, err = p.leaf(log); err != nil {
			return fail(err)
		}
	}
	me, _ := lease.Find(os.Getpid())
	p.note(p.role+".up", up{me, url})
	if p.role == "leaf" && p.hang != "" {
		hang(p.hang)
	}
	<-ctx.Done()
	fmt.Fprintln(log, p.role, "ends:", context.Cause(ctx)) // nobody may be there to read it
	p.note(p.role+".end", fmt.Sprint(context.Cause(ctx), ": ", end()))
	return lease.ExitStatus(context.Cause(ctx))
}

// up is what a daemon notes when it serves.
type up struct {
	lease.Proc
	URL string `json:"url"`
}

// serve answers POST /v1/shutdown, POST /v1/leases/{id}, by which a holder
// returns, and POST /v1/chatter, which logs far too much.
func (p player) serve(ctx context.Context, l *lease.Lease, log io.Writer, asked context.CancelCauseFunc) (*http.Server, string, error) {
	listen := func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	if p.listen != "" {
		listen = func() (net.Listener, error) { return lease.ListenFD(p.listen) }
	}
	ln, err := listen()
	if err != nil {
		return nil, "", err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/shutdown", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusAccepted)
		http.NewResponseController(w).Flush() // else the process may be gone before its answer
		asked(errAsked)
	})
	mux.HandleFunc("POST /v1/chatter", func(http.ResponseWriter, *http.Request) {
		for range 64 << 10 { // 8 MiB: more than all pipes and windows up to the top hold
			fmt.Fprintf(log, "%0127d\n", 0)
		}
	})
	mux.HandleFunc("POST /v1/leases/{id}", func(w http.ResponseWriter, r *http.Request) {
		if c, _, err := lease.Body(w, r, 5*time.Second); err == nil && lease.Accept(w) == nil && l.Return(ctx, c) == nil {
			p.note("returned", true)
			<-c.Done()
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	return srv, "http://" + ln.Addr().String(), nil
}

// leaf starts the leaf, with its listener, and returns what ends it.
func (p player) leaf(log io.Writer) (func() lease.Step, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	url := "http://" + ln.Addr().String()
	c, err := lease.Start(lease.Spec{Name: "tree-leaf", Args: p.args("leaf"), Run: p.run, Listener: ln, Log: log})
	if err != nil {
		return nil, err
	}
	go func() {
		<-c.Done()
		p.note("leaf.gone", cmp.Or(fmt.Sprint(c.Err()), "in order"))
	}()
	ask := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/shutdown", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	grace := lease.Grace{Ask: p.terms.End / 4, Term: p.terms.End / 4}
	return func() lease.Step { return c.Stop(context.Background(), ask, grace) }, nil
}

// hang never returns, and SIGTERM does nothing any more.
func hang(how string) {
	signal.Ignore(syscall.SIGTERM)
	runtime.LockOSThread()
	switch how {
	case "call": // a driver call that does not come back
		for { // but for a signal
			syscall.Syscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
	case "spin": // a loop that takes the only processor
		runtime.GOMAXPROCS(1)
		for n := 0; ; n++ {
			_ = n
		}
	case "stuck": // a page of a mapped file that never comes: Go stands still at the next collection
		go runtime.GC()
		r, _, _ := os.Pipe()
		var b [1]byte
		fd := r.Fd() // makes it blocking
		for {
			syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&b)), 1)
		}
	}
}
