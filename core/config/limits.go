package config

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// Limits are how long things may take.
type Limits struct {
	SSHConnect  time.Duration // login included
	QueenUp     time.Duration
	HiveUp      time.Duration // without progress
	WorkerUp    time.Duration // until its HTTP answers
	LoadStall   time.Duration // a load without progress
	LoadMax     time.Duration // a load in all
	AnswerStall time.Duration // an answer without a token
	WorkerStop  time.Duration // from asking a worker to SIGTERM
	TermGrace   time.Duration // from SIGTERM to SIGKILL
	Drain       time.Duration // for running answers, on SIGTERM of a persistent daemon
	Beat        time.Duration // of a lease over a network
	BeatLost    time.Duration // silence that ends a lease
	EOFGrace    time.Duration // of a persistent queen's leases
	Heartbeat   time.Duration // of a hive to a persistent queen; this one and the next two from the issue on in which hives join by themselves
	Suspect     time.Duration
	Gone        time.Duration
	Idle        time.Duration // after which a worker nobody uses ends
}

// DefaultLimits returns the limits that hold when nobody says otherwise.
func DefaultLimits() Limits {
	return Limits{
		SSHConnect: 10 * time.Second, QueenUp: 30 * time.Second, HiveUp: 60 * time.Second, WorkerUp: 30 * time.Second,
		LoadStall: 60 * time.Second, LoadMax: 5 * time.Minute, AnswerStall: 60 * time.Second,
		WorkerStop: 5 * time.Second, TermGrace: 2 * time.Second, Drain: 30 * time.Second,
		Beat: 5 * time.Second, BeatLost: 20 * time.Second, EOFGrace: 60 * time.Second,
		Heartbeat: 15 * time.Second, Suspect: 45 * time.Second, Gone: 120 * time.Second, Idle: 300 * time.Second,
	}
}

// fields are the limits by key.
func (l *Limits) fields() map[string]*time.Duration {
	return map[string]*time.Duration{
		"ssh_connect": &l.SSHConnect, "queen_up": &l.QueenUp, "hive_up": &l.HiveUp, "worker_up": &l.WorkerUp,
		"load_stall": &l.LoadStall, "load_max": &l.LoadMax, "answer_stall": &l.AnswerStall,
		"worker_stop": &l.WorkerStop, "term_grace": &l.TermGrace, "drain": &l.Drain,
		"beat": &l.Beat, "beat_lost": &l.BeatLost, "eof_grace": &l.EOFGrace,
		"heartbeat": &l.Heartbeat, "suspect": &l.Suspect, "gone": &l.Gone, "idle": &l.Idle,
	}
}

// mayBeZero are the limits for which 0 has a meaning: never, or at once.
var mayBeZero = []string{"idle", "eof_grace", "drain"}

func limitKeys() []string { return slices.Sorted(maps.Keys((&Limits{}).fields())) }

// All are the limits by the keys that a config file has for them, in order.
func (l Limits) All() iter.Seq2[string, time.Duration] {
	return func(yield func(string, time.Duration) bool) {
		for _, key := range limitKeys() {
			if !yield(key, *l.fields()[key]) {
				return
			}
		}
	}
}

func (l *Limits) set(key, value string) error {
	field, ok := l.fields()[key]
	if !ok {
		return fmt.Errorf("unknown limit, want one of %s", strings.Join(limitKeys(), ", "))
	}
	d, err := Duration(value)
	if err != nil {
		return err
	}
	if d == 0 && !slices.Contains(mayBeZero, key) {
		return fmt.Errorf("is %s, want more than 0", value)
	}
	*field = d
	return nil
}

// HiveStop is how long a hive may take to end: its workers' time and a second.
func (l Limits) HiveStop() time.Duration { return l.WorkerStop + l.TermGrace + time.Second }

// QueenStop is how long a queen may take to end: a hive's time and a second.
func (l Limits) QueenStop() time.Duration { return l.HiveStop() + time.Second }
