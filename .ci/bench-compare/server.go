package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// serverContext is what both servers are given, for one answer at a time.
const serverContext = "4096"

// A served is what one server came to in each turn.
type served struct{ seconds, mebibytes []float64 }

// A pair is the servers with one model, in their own settings and with all threads.
type pair struct {
	model       string
	rbee, rival served
}

// A server is how one is started and asked.
type server struct {
	program     string
	args        []string // PORT stands for the port
	ready       string   // the path whose 200 says that it has loaded
	path, body  string   // of a short answer
	measurement *served
}

// compareServers starts both in turns. The benchmarks before have left the file in
// memory.
func (s *settings) compareServers(ctx context.Context, model string) (p pair, err error) {
	p.model = filepath.Base(model)
	both := []server{
		{
			s.rbee,
			[]string{"worker", "serve", "--model", model, "--port", "PORT", "--ctx", serverContext, "--slots", "1"},
			"/ready",
			"/execute", `{"job_id":"j","prompt":"a b c d","raw":true,"max_tokens":16,"temperature":0}`, &p.rbee,
		},
		{
			s.server,
			[]string{"-m", model, "--port", "PORT", "-c", serverContext, "-np", "1"},
			"/health",
			"/completion", `{"prompt":"a b c d","n_predict":16,"temperature":0}`, &p.rival,
		},
	}
	for turn := range s.pairs {
		fmt.Fprintf(os.Stderr, "%s, servers, turn %d of %d\n", p.model, turn+1, s.pairs)
		for _, one := range both {
			if err := s.locked(func() error { return one.measure(ctx) }); err != nil {
				return p, fmt.Errorf("%s: %w", one.program, err)
			}
		}
	}
	return p, nil
}

// patience is how long a server may take for anything.
const patience = 5 * time.Minute

// measure starts the server, asks it once, notes time and memory, and ends it.
func (s *server) measure(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	url := "http://127.0.0.1:" + port
	cmd := exec.CommandContext(ctx, s.program)
	for _, a := range s.args {
		if a == "PORT" {
			a = port
		}
		cmd.Args = append(cmd.Args, a)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	var why error
	ended := make(chan struct{})
	go func() {
		why = cmd.Wait()
		close(ended)
	}()
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-ended
	}()
	for !answers(ctx, "GET", url+s.ready, "") {
		select {
		case <-ended:
			return fmt.Errorf("it ended: %w", cmp.Or(why, errors.New("exit status 0")))
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(2 * time.Millisecond):
		}
	}
	took := time.Since(began)
	if !answers(ctx, "POST", url+s.path, s.body) {
		return fmt.Errorf("POST %s does not answer", s.path)
	}
	most, err := peak(cmd.Process.Pid)
	s.measurement.seconds = append(s.measurement.seconds, took.Seconds())
	s.measurement.mebibytes = append(s.measurement.mebibytes, most)
	return err
}

// answers makes a request and tells whether it is answered well, to its end.
func answers(ctx context.Context, method, url, body string) bool {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

func freePort(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, err
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that a process has had, in MiB.
func peak(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	m := highWater.FindSubmatch(b)
	if m == nil {
		return 0, fmt.Errorf("/proc/%d/status has no VmHWM", pid)
	}
	kib, err := strconv.ParseFloat(string(m[1]), 64)
	return kib / 1024, err
}
