package place

import (
	"testing"

	"rbee/core"
)

func TestChoose(t *testing.T) {
	big, disk := Candidate{Node: "big", FreeBytes: 64 << 30}, Candidate{Node: "disk", OnDisk: true, FreeBytes: 8 << 30}
	busy, free := Candidate{Node: "busy", Loaded: true, OnDisk: true}, Candidate{Node: "free", Loaded: true, FreeSlots: 1}
	tests := map[string]struct {
		node  core.NodeName
		known []Candidate
		want  core.NodeName
	}{
		"asked for":    {"mac", []Candidate{free, big}, "mac"},
		"nothing":      {"", nil, core.Localhost},
		"most memory":  {"", []Candidate{{Node: "a"}, big}, "big"},
		"on disk":      {"", []Candidate{big, disk}, "disk"},
		"loaded, busy": {"", []Candidate{big, disk, busy}, "busy"},
		"loaded, free": {"", []Candidate{big, disk, busy, free}, "free"},
		"alike":        {"", []Candidate{{Node: "b"}, {Node: "a"}}, "a"},
	}
	for name, tt := range tests {
		if got := Choose(Request{Node: tt.node}, tt.known); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}
