package secure

import (
	"net"
	"testing"
)

func TestOurs(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Logf("%s: %v", addr, err) // a machine without IPv6
			continue
		}
		port := ln.Addr().(*net.TCPAddr).Port
		if !Ours(port) {
			t.Errorf("%s: not ours", addr)
		}
		ln.Close()
		if Ours(port) {
			t.Errorf("%s: ours after its end", addr)
		}
	}
}

func TestListens(t *testing.T) {
	const (
		head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
		tail = " 00000000:00000000 00:00000000 00000000  "
		mine = "   0: 0100007F:1F90 00000000:0000 0A" + tail + "1000        0 1 1\n"
		all  = "   0: 00000000:1F90 00000000:0000 0A" + tail + "1000        0 1 1\n"
		six  = "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A" + tail + "1000        0 1 1\n"
		his  = "   1: 0100007F:1F90 00000000:0000 0A" + tail + "1001        0 1 1\n"
		far  = "   1: 0200000A:1F90 00000000:0000 0A" + tail + "1001        0 1 1\n"
		open = "   1: 0100007F:1F90 0100007F:9999 01" + tail + "1001        0 1 1\n"
	)
	tests := map[string]struct {
		tables string
		want   bool
	}{
		"nobody": {head, false}, "mine": {head + mine, true}, "on all addresses": {head + all, true},
		"on IPv6": {head + six, true}, "another's": {head + his, false}, "both": {head + all + his, false},
		"another address": {head + far, false}, "a connection": {head + open, false}, "mine, with a connection": {head + open + mine, true},
	}
	for name, tt := range tests {
		if got := Listens(tt.tables, 8080, "1000"); got != tt.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
