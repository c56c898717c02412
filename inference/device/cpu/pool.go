package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// A task is one operation, run by all threads at once: thread t of n does its
// fixed part of each phase and waits at the barrier between phases.
type task interface {
	step(b *barrier, thread, threads int)
}

// A pool is a fixed set of threads. The caller of run is thread 0.
type pool struct {
	barrier barrier
	threads int
	task    task
	epoch   padded // counts runs
	workers []worker
	served  sync.WaitGroup
	closed  bool
}

type worker struct {
	parked atomic.Bool
	wake   chan struct{}
	_      [48]byte
}

// newPool starts threads−1 goroutines, each locked to its thread, which live
// until close.
func newPool(threads int) *pool {
	p := &pool{threads: threads, workers: make([]worker, threads)}
	p.barrier.threads, p.barrier.handOver = uint32(threads), 50*yieldAfter
	if threads > runtime.GOMAXPROCS(0) { // they cannot all run at once
		p.barrier.handOver = yieldAfter / 10
	}
	for t := 1; t < threads; t++ {
		p.workers[t].wake = make(chan struct{}, 1)
		p.served.Go(func() { p.serve(t) })
	}
	return p
}

// run lets every thread do its part and returns when all are done. One run at a time.
func (p *pool) run(t task) {
	p.task = t
	p.epoch.Add(1)
	for i := 1; i < p.threads; i++ {
		if w := &p.workers[i]; w.parked.Load() && w.parked.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
		}
	}
	if t != nil {
		t.step(&p.barrier, 0, p.threads)
	}
	p.barrier.wait()
}

// close ends the threads and waits for them.
func (p *pool) close() {
	if !p.closed {
		p.closed = true
		p.run(nil)
		p.served.Wait()
	}
}

func (p *pool) serve(t int) {
	runtime.LockOSThread() // without an unlock: the thread ends with the goroutine
	for epoch := uint32(0); ; {
		epoch = p.await(t, epoch)
		task := p.task
		if task != nil {
			task.step(&p.barrier, t, p.threads)
		}
		p.barrier.wait()
		if task == nil {
			return
		}
	}
}

// spins is how long a thread waits for the next run before it sleeps: long
// enough to sample a token between two steps.
const spins = 20_000

// yieldAfter is how often a barrier looks before it offers its CPU: longer
// than phases differ, shorter than a time slice.
const yieldAfter = 2000

func (p *pool) await(t int, last uint32) uint32 {
	w := &p.workers[t]
	for i := 0; ; i++ {
		if e := p.epoch.Load(); e != last {
			return e
		}
		if i < spins {
			pause()
			continue
		}
		w.parked.Store(true)
		if p.epoch.Load() != last && w.parked.CompareAndSwap(true, false) {
			continue
		}
		<-w.wake
	}
}

type padded struct {
	_ [64]byte
	atomic.Uint32
	_ [60]byte
}

// A barrier lets threads wait for each other by spinning.
type barrier struct {
	threads  uint32
	handOver int // looks after which the P is offered
	arrived  padded
	phase    padded
}

// wait returns when all threads have called it. It offers its CPU
// now and then, and seldom its P, since another of them may be waiting for it
// (GOMAXPROCS below the number of threads, as in testing.AllocsPerRun).
func (b *barrier) wait() {
	phase := b.phase.Load()
	if b.arrived.Add(1) == b.threads {
		b.arrived.Store(0)
		b.phase.Store(phase + 1)
		return
	}
	for i := 1; b.phase.Load() == phase; i++ {
		if i%yieldAfter == 0 {
			yieldCPU()
		}
		if i%b.handOver == 0 { // dear: a locked goroutine sleeps to change hands
			runtime.Gosched()
		}
		pause()
	}
}

// share is the part of n items that belongs to a thread: fixed, in order.
func share(n, thread, threads int) (from, to int) {
	return n * thread / threads, n * (thread + 1) / threads
}
