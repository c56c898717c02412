package lease_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rbee/core"
	"rbee/core/lease"
)

// TestMain is also every process that these tests start: the first argument says what it does.
func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else each child of a race build sleeps a second in its exit
	if f := children[append(os.Args, "", "")[1]]; f != nil {
		f()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var children = map[string]func(){
	"top": func() { os.Exit(play()) }, "middle": func() { os.Exit(play()) }, "leaf": func() { os.Exit(play()) }, "hive": func() { os.Exit(play()) },
	"serve": func() { // one line of what the child sees, then the life of a daemon
		ln, err := lease.ListenFD(os.Args[len(os.Args)-1])
		comm := lease.SetName(os.Args[0])
		fmt.Fprintln(os.Stderr, "up", err, comm)
		conn, _ := ln.Accept()
		io.Copy(conn, strings.NewReader(os.Getenv(lease.Mark)+" "+os.Args[0]))
		conn.Close()
		io.Copy(io.Discard, os.NewFile(3, "lease"))
	},
	"speak": func() {
		io.Copy(os.Stdout, strings.NewReader(strings.Repeat("line\n", 50_000)))
	},
	"fail":     func() { fmt.Fprintln(os.Stderr, "no such model"); os.Exit(4) },
	"stubborn": func() { signal.Ignore(syscall.SIGTERM); fmt.Fprintln(os.Stderr, "up"); select {} },
	"ending": func() { // takes its time to end, and is told to hurry by the second signal
		again := lease.Again()
		ctx, _ := lease.Signals(context.Background())
		fmt.Fprintln(os.Stderr, "up")
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, "ending")
		<-again
		fmt.Fprintln(os.Stderr, "ended in order")
		os.Exit(7)
	},
	"meek": func() { fmt.Fprintln(os.Stderr, "up"); time.Sleep(time.Hour) },
}

var short = lease.Terms{Beat: 10 * time.Millisecond, BeatLost: 200 * time.Millisecond, End: time.Hour}

// pipe returns a holder's end and the carrier that a child would open.
func pipe(t *testing.T) (*os.File, *lease.Carrier) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c, err := lease.Open(fmt.Sprintf("fd:%d", r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(); r.Close() })
	return w, c
}

func ended(t *testing.T, ctx context.Context) error { //nolint:revive // t first in tests
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("in 5 s the lease was not over")
	}
	return context.Cause(ctx)
}

func TestPipe(t *testing.T) {
	tests := map[string]struct {
		lines string
		want  error
	}{
		"end":               {`{"boot":{"node":"mac"}}` + "\n", lease.ErrGone},
		"unknown fields":    {`{"boot":{"node":"mac"},"x":1}` + "\n" + `{"y":2}` + "\n", lease.ErrGone},
		"no line":           {"", lease.ErrGone},
		"no lease":          {"0.5\nhello\n", lease.ErrGone},
		"endless line":      {strings.Repeat("x", 65<<10), lease.ErrGone},
		"release, cut off":  {`{"release":true}`, lease.ErrGone},
		"release, then end": {`{"release":true}` + "\n", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, c := pipe(t)
			l := lease.New(short, nil)
			held, stop := l.Held(t.Context(), c)
			go func() { io.WriteString(w, tt.lines); w.Close() }()
			if tt.want != nil {
				if err := ended(t, held); !errors.Is(err, tt.want) {
					t.Errorf("cause: got %v, want %v", err, tt.want)
				}
			}
			if strings.Contains(tt.lines, "mac") {
				// The boot line was there before the end, and is not lost with it.
				if b, err := l.Boot(t.Context()); err != nil || b.Node != "mac" {
					t.Errorf("Boot: got %+v, %v", b, err)
				}
			}
			if tt.want == nil {
				next, back := pipe(t)
				if err := l.Return(held, back); err != nil { // only somebody alive can be taken over
					t.Errorf("Return: %v", err)
				}
				next.Close()
				ended(t, held)
			}
			stop()
		})
	}
}

func TestStopWhileReading(t *testing.T) {
	_, c := pipe(t)
	held, stop := lease.New(short, nil).Held(t.Context(), c)
	stop()
	if err := ended(t, held); !errors.Is(err, context.Canceled) {
		t.Errorf("cause: got %v", err)
	}
}

func TestGrace(t *testing.T) {
	terms := short
	terms.EOFGrace = 300 * time.Millisecond
	w, c := pipe(t)
	l := lease.New(terms, nil)
	held, stop := l.Held(t.Context(), c)
	defer stop()
	for range 3 {
		io.WriteString(w, `{"boot":{"mode":"persistent"}}`+"\n")
		w.Close()
		next, back := pipe(t)
		if err := l.Return(held, back); err != nil {
			t.Fatalf("Return: %v", err)
		}
		w = next
	}
	io.WriteString(w, `{"boot":{"mode":"persistent"}}`+"\n")
	w.Close()
	began := time.Now()
	if err := ended(t, held); !errors.Is(err, lease.ErrGone) || time.Since(began) < terms.EOFGrace {
		t.Errorf("cause: got %v after %v, want ErrGone after %v", err, time.Since(began), terms.EOFGrace)
	}
	if _, late := pipe(t); l.Return(held, late) == nil {
		t.Error("Return: a lease that is over was taken")
	}
}

// Three ends of a lease that is the body of a request.
func TestBody(t *testing.T) {
	tests := map[string]struct {
		end  func(h *lease.Holder, beats, cut context.CancelFunc)
		want error
	}{
		"closed": {func(h *lease.Holder, _, _ context.CancelFunc) { h.Close() }, lease.ErrGone},
		"cut":    {func(_ *lease.Holder, _, cut context.CancelFunc) { cut() }, lease.ErrGone},
		"silent": {func(_ *lease.Holder, beats, _ context.CancelFunc) { beats() }, lease.ErrSilent},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cause := make(chan error, 1)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, _, err := lease.Body(w, r, 5*time.Second)
				if err == nil {
					err = lease.Accept(w)
				}
				if err != nil {
					t.Error(err)
					return
				}
				held, stop := lease.New(short, nil).Held(context.Background(), c)
				<-held.Done()
				stop()
				cause <- context.Cause(held)
			}))
			defer srv.Close()
			r, w := io.Pipe()
			ctx, cut := context.WithCancel(t.Context())
			defer cut()
			beating, beats := context.WithCancel(ctx)
			defer beats()
			held := make(chan *lease.Holder, 1)
			go func() {
				h, _ := lease.Hold(w, lease.Boot{})
				held <- h
				h.Beat(beating, short.Beat)
			}()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, r)
			resp, err := http.DefaultClient.Do(req) // answered while the body streams
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			tt.end(<-held, beats, cut)
			select {
			case err := <-cause:
				if !errors.Is(err, tt.want) {
					t.Errorf("cause: got %v, want %v", err, tt.want)
				}
			case <-time.After(5 * time.Second):
				t.Error("in 5 s the lease was not over")
			}
		})
	}
}

// A child's stdout reaches its parent whole, before Done.
func TestStdout(t *testing.T) {
	var out strings.Builder
	c, err := lease.Start(lease.Spec{Name: "lease-test", Args: []string{"speak"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if want := strings.Repeat("line\n", 50_000); out.String() != want {
		t.Errorf("stdout: got %d bytes, want %d", out.Len(), len(want))
	}
}

// start starts a child and waits for its first line.
func start(t *testing.T, s lease.Spec) *lease.Child {
	t.Helper()
	r, w := io.Pipe()
	s.Name, s.Log = "lease-test", w
	c, err := lease.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(r)
	lines.Scan()
	go io.Copy(io.Discard, r)
	t.Cleanup(func() { c.Stop(context.Background(), nil, lease.Grace{}) })
	return c
}

func TestChild(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	c := start(t, lease.Spec{Args: []string{"serve"}, Run: "run-of-test-child", Listener: ln})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(conn); string(b) != "run-of-test-child lease-test" {
		t.Errorf("child: got %q", b)
	}
	if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", c.Proc.PID)); string(comm) != "lease-test\n" {
		t.Errorf("comm: got %q", comm)
	}
	if left, _ := lease.Leftovers("run-of-test-child"); len(left) != 1 || left[0].Proc != c.Proc || left[0].Name != "lease-test" {
		t.Errorf("Leftovers: got %v, want %v", left, c.Proc)
	}
	c.Lease.Close()
	<-c.Done()
	if c.Err() != nil || c.Proc.Alive() {
		t.Errorf("after the lease: %v, alive %v", c.Err(), c.Proc.Alive())
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the port of a dead child still takes connections")
	}
}

func TestEarlyExit(t *testing.T) {
	c, err := lease.Start(lease.Spec{Name: "lease-test", Args: []string{"fail"}})
	if err == nil { // it took the boot line with it
		<-c.Done()
		err = c.Err()
	}
	if err == nil || !strings.Contains(err.Error(), "no such model") {
		t.Errorf("early exit: got %v, want its last line", err)
	}
}

func TestStop(t *testing.T) {
	unwilling := func(context.Context) error { return nil }
	tests := map[string]struct {
		child string
		ask   func(context.Context) error
		want  lease.Step
	}{
		"SIGTERM":          {"meek", nil, lease.Termed},
		"asked in vain":    {"meek", unwilling, lease.Termed},
		"ignoring SIGTERM": {"stubborn", unwilling, lease.Killed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := start(t, lease.Spec{Args: []string{tt.child}})
			grace := lease.Grace{Ask: 50 * time.Millisecond, Term: 300 * time.Millisecond}
			if got := c.Stop(t.Context(), tt.ask, grace); got != tt.want {
				t.Errorf("Stop: got %s, want %s", got, tt.want)
			}
			if got := c.Stop(t.Context(), tt.ask, grace); got != lease.Gone {
				t.Errorf("second Stop: got %s", got)
			}
		})
	}
}

// A pid is signalled only while it is the process that was meant.
func TestProc(t *testing.T) {
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := lease.Find(cmd.Process.Pid)
	if err != nil || !p.Alive() {
		t.Fatalf("Find: %v, %v", p, err)
	}
	other := lease.Proc{PID: p.PID, Started: p.Started - 1}
	if err := other.Signal(syscall.SIGKILL); !errors.Is(err, lease.ErrNotThere) || !p.Alive() {
		t.Errorf("Signal to an earlier owner of the pid: %v, alive %v", err, p.Alive())
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Errorf("Signal: %v", err)
	}
	for end := time.Now().Add(5 * time.Second); p.Alive(); time.Sleep(time.Millisecond) { // a zombie counts as gone
		if time.Now().After(end) {
			t.Fatal("a zombie is called alive")
		}
	}
	cmd.Wait()
}

// Who is late is looked for once more, for a twentieth of the silence: the delay may be ours.
func TestSecondLook(t *testing.T) {
	terms := lease.Terms{BeatLost: 20 * time.Second, End: time.Hour}
	for late, want := range map[time.Duration]error{900 * time.Millisecond: nil, 1100 * time.Millisecond: lease.ErrSilent} {
		t.Run(late.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, w := io.Pipe()
				held, stop := lease.New(terms, nil).Held(t.Context(), lease.Beating(r))
				defer stop()
				for range 3 {
					time.Sleep(terms.BeatLost + late)
					io.WriteString(w, `{"beat":1}`+"\n")
					synctest.Wait()
				}
				if err := context.Cause(held); !errors.Is(err, want) {
					t.Errorf("beats %v late: got %v, want %v", late, err, want)
				}
			})
		})
	}
}

// Only a persistent holder has time to return.
func TestGraceIsTheHolders(t *testing.T) {
	terms := short
	terms.EOFGrace = time.Hour
	w, c := pipe(t)
	held, stop := lease.New(terms, nil).Held(t.Context(), c)
	defer stop()
	io.WriteString(w, `{"boot":{"mode":"ephemeral"}}`+"\n")
	w.Close()
	if err := ended(t, held); !errors.Is(err, lease.ErrGone) {
		t.Errorf("cause: got %v", err)
	}
}

// Whom nobody held lives by the first who does.
func TestFirstHolder(t *testing.T) {
	l := lease.New(short, nil)
	held, stop := l.Held(t.Context(), nil)
	defer stop()
	w, c := pipe(t)
	if err := l.Return(held, c); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := ended(t, held); !errors.Is(err, lease.ErrGone) {
		t.Errorf("cause: got %v", err)
	}
}

// A lease that is refused is refused with a status, before a word of consent.
func TestBodyRefused(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, b, err := lease.Body(w, r, 5*time.Second)
		if err != nil {
			http.Error(w, err.Error(), core.KindOf(err).Status())
			return
		}
		http.Error(w, b.Node, http.StatusConflict)
	}))
	defer srv.Close()
	for body, want := range map[string]int{`{"boot":{"node":"mac"}}`: http.StatusConflict, `{"beat":1}`: http.StatusBadRequest, `x`: http.StatusBadRequest} {
		r, w := io.Pipe()
		go io.WriteString(w, body+"\n") // and the stream stays open
		resp, err := http.Post(srv.URL, "application/json", r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		w.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got %s, want %d", body, resp.Status, want)
		}
	}
}

// A child that cannot be started keeps no copy of the listener's port.
func TestFailedStartFreesThePort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if _, err := lease.Start(lease.Spec{Name: "lease-test", Run: "no\x00environment", Listener: ln}); err == nil {
		t.Fatal("a child was started whose environment holds a NUL")
	}
	again, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	again.Close()
}

// A process is seen to be gone at once, even if its last words take their time.
func TestExited(t *testing.T) {
	block := make(chan struct{})
	c, err := lease.Start(lease.Spec{Name: "lease-test", Args: []string{"fail"}, Log: blocked(block)})
	if err == nil {
		select {
		case <-c.Exited():
			select {
			case <-c.Done():
				t.Error("Done before the last words were waited for")
			default:
			}
		case <-time.After(5 * time.Second):
			t.Error("the exit was not seen")
		}
		<-c.Done()
	}
	close(block)
}

// blocked is a writer that waits until its channel is closed.
type blocked chan struct{}

func (b blocked) Write(p []byte) (int, error) {
	<-b
	return len(p), nil
}

// A second signal does not cut an orderly end short.
func TestAgain(t *testing.T) {
	r, w := io.Pipe()
	c, err := lease.Start(lease.Spec{Name: "lease-test", Args: []string{"ending"}, Log: w})
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(r)
	for range 2 { // at "up" and at "ending"
		lines.Scan()
		if err := c.Proc.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	go io.Copy(io.Discard, r)
	<-c.Done()
	if c.Err() == nil || !strings.Contains(c.Err().Error(), "ended in order") {
		t.Errorf("after two signals: %v", c.Err())
	}
}
