package api

import (
	"errors"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"rbee/core"
)

func TestStreamRoundTrip(t *testing.T) {
	want := []Event{
		&Started{JobID: "j1", Model: core.Embedded},
		&Comment{"loading 40%"},
		&Narration{"hive", Load, "loading\nnow"},
		&Token{Text: "héllo\r\n\n", Index: 0, ID: 7, Channel: TextChannel},
		&Metrics{PrefillTokens: 3, DecodeTPS: 12.5},
		Fail(&core.Fault{Kind: core.WorkerCrashed, What: "it died", Facts: []core.Fact{core.Number("pid", 9)}, Try: "again"}, 1),
	}
	w := httptest.NewRecorder()
	s := NewStream(w)
	for _, ev := range want {
		if err := s.Send(ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Done(); err != nil {
		t.Fatal(err)
	}
	var got []Event
	var ids []int64
	for n, err := range Events(w.Body) {
		if err != nil {
			t.Fatal(err)
		}
		got, ids = append(got, n.Event), append(ids, n.ID)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("events: got %+v, want %+v", got, want)
	}
	if !reflect.DeepEqual(ids, []int64{1, 0, 2, 3, 4, 5}) {
		t.Errorf("ids: %v", ids)
	}
	f := core.FaultOf(got[5].(*Failure).Err())
	if f.Kind != core.WorkerCrashed || f.Try != "again" || len(f.Facts) != 1 || f.Facts[0] != core.Number("pid", 9) {
		t.Errorf("the failure came back as %+v", f)
	}
}

func TestTokenOnTheWire(t *testing.T) {
	b, err := EncodeEvent(&Token{Text: "", Index: 0, ID: 0, Channel: TextChannel})
	if want := `{"type":"token","t":"","i":0,"id":0,"channel":"text"}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v; want %s", b, err, want)
	}
}

func TestStreamCut(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":      "",
		"in a frame":   "id: 1\nevent: token\ndata: {",
		"without DONE": "id: 1\nevent: token\ndata: {\"t\":\"x\"}\n\n",
	} {
		var last error
		for _, err := range Events(strings.NewReader(body)) {
			last = err
		}
		if !errors.Is(last, ErrStreamCut) {
			t.Errorf("%s: got %v, want %v", name, last, ErrStreamCut)
		}
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("id: 1\nevent: token\ndata: {\"t\":\"x\",\"i\":0}\n\ndata: [DONE]\n\n")
	f.Add(": loading\n\nevent: end\ndata: {}\ndata: 2\n\n")
	f.Add("event\ndata\nid\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		n := 0
		for ev, err := range Events(strings.NewReader(body)) {
			if n++; err == nil && ev.Event == nil {
				t.Error("an event that is nothing")
			}
		}
		if n > len(body)+1 {
			t.Errorf("%d events of %d bytes", n, len(body))
		}
	})
}
