package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// doneData is the data of the last message of every stream.
const doneData = "[DONE]"

// A Stream writes server-sent events. All but Put flush: a token that is made
// is on its way. Its methods may be called at once.
type Stream struct {
	mu  sync.Mutex // guards all writing, id and buf
	w   http.ResponseWriter
	rc  *http.ResponseController
	id  int64
	buf []byte // of the message that is written
}

// NewStream begins an event stream on w: status 200 and the headers.
func NewStream(w http.ResponseWriter) *Stream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return &Stream{w: w, rc: http.NewResponseController(w)}
}

// Send writes an event with the next id; a *Comment as a comment line.
func (s *Stream) Send(ev Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.put(s.id+1, ev); err != nil {
		return err
	}
	return s.flush()
}

// Put writes an event with an id of its own, which must not be smaller than those
// before, and does not flush: it may be one of several that are there at once. Flush
// ends them.
func (s *Stream) Put(id int64, ev Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(id, ev)
}

// Flush sends what was put on its way.
func (s *Stream) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flush()
}

// oneLine makes one line of any text.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

func (s *Stream) put(id int64, ev Event) error {
	if c, ok := ev.(*Comment); ok {
		s.buf = append(append(s.buf[:0], ": "...), oneLine.Replace(c.Text)...)
		return s.end()
	}
	b, err := EncodeEvent(ev)
	if err != nil {
		return err
	}
	s.id = id
	s.buf = append(s.buf[:0], "id: "...)
	s.buf = strconv.AppendInt(s.buf, id, 10)
	s.buf = append(s.buf, "\nevent: "...)
	s.buf = append(s.buf, ev.Name()...)
	s.buf = append(s.buf, "\ndata: "...)
	s.buf = append(s.buf, b...)
	return s.end()
}

// Data writes a message without id and name: the form of OpenAI's streams and
// of progress streams.
func (s *Stream) Data(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(append(s.buf[:0], "data: "...), b...)
	if err := s.end(); err != nil {
		return err
	}
	return s.flush()
}

// Done writes the last message, [DONE].
func (s *Stream) Done() error { return s.Data([]byte(doneData)) }

// end writes the message that is in the buffer.
func (s *Stream) end() error {
	s.buf = append(s.buf, "\n\n"...)
	if _, err := s.w.Write(s.buf); err != nil {
		return fmt.Errorf("api: stream: %w", err)
	}
	return nil
}

func (s *Stream) flush() error {
	if err := s.rc.Flush(); err != nil {
		return fmt.Errorf("api: stream: %w", err)
	}
	return nil
}

// ErrStreamCut says that a stream ended before its [DONE].
var ErrStreamCut = errors.New("api: the stream was cut off")

// maxMessage bounds one message of a stream.
const maxMessage = 4 << 20

// A Frame is one message of a stream as it is on the wire. A comment has only
// Comment set.
type Frame struct {
	ID      int64 // 0: none
	Name    string
	Data    []byte
	Comment string
}

// Frames reads messages until [DONE], which is not yielded. A stream that ends
// before it yields ErrStreamCut. The caller closes r.
func Frames(r io.Reader) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 16<<10), maxMessage)
		var f Frame
		for lines.Scan() {
			line := lines.Bytes()
			switch {
			case len(line) == 0:
				if string(f.Data) == doneData {
					return
				}
				if (f.Name != "" || f.Data != nil) && !yield(f, nil) {
					return
				}
				f = Frame{Data: f.Data[:0:0]}
			case line[0] == ':':
				if !yield(Frame{Comment: string(bytes.TrimPrefix(line[1:], []byte(" ")))}, nil) {
					return
				}
			default:
				f.field(line)
			}
		}
		yield(Frame{}, errors.Join(ErrStreamCut, lines.Err()))
	}
}

// field adds one line "name: value" to the frame. Unknown names are ignored, as
// the standard says.
func (f *Frame) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "id":
		f.ID, _ = strconv.ParseInt(string(value), 10, 64) // not a number: no id of ours
	case "event":
		f.Name = string(value)
	case "data":
		if len(f.Data) > 0 {
			f.Data = append(f.Data, '\n')
		}
		f.Data = append(f.Data, value...)
	}
}

// A Numbered is an event with its id in the stream; 0 for a comment.
type Numbered struct {
	ID    int64
	Event Event
}

// Events reads the events of an answer, comments among them, until [DONE].
// Events that this version does not know are skipped.
func Events(r io.Reader) iter.Seq2[Numbered, error] { return events(r, Frame.event) }

// SealedEvents is Events for who passes tokens on: each is a *Sealed.
func SealedEvents(r io.Reader) iter.Seq2[Numbered, error] { return events(r, Frame.sealed) }

func events(r io.Reader, event func(Frame) (Event, error)) iter.Seq2[Numbered, error] {
	return func(yield func(Numbered, error) bool) {
		for f, err := range Frames(r) {
			if err != nil {
				yield(Numbered{}, err)
				return
			}
			ev, err := event(f)
			if err != nil {
				yield(Numbered{}, err)
				return
			}
			if ev != nil && !yield(Numbered{f.ID, ev}, nil) {
				return
			}
		}
	}
}

func (f Frame) event() (Event, error) {
	if f.Name == "" && f.Data == nil {
		return &Comment{f.Comment}, nil
	}
	return DecodeEvent(f.Name, f.Data)
}

// sealed is event, but for tokens.
func (f Frame) sealed() (Event, error) {
	if f.Name != tokenName {
		return f.event()
	}
	if bytes.ContainsAny(f.Data, "\r\n") { // they are spaces there, and would make several lines of it again
		f.Data = []byte(oneLine.Replace(string(f.Data)))
	}
	return &Sealed{f.Data}, nil
}

// KeepAlive writes what text says as a comment every so often, until ctx is done
// or the stream is broken: silence is then no sign of anything.
func (s *Stream) KeepAlive(ctx context.Context, every time.Duration, text func() string) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.Send(&Comment{text()}) != nil {
				return
			}
		}
	}
}
