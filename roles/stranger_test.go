package roles

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"rbee/core"
	"rbee/core/api"
)

// A spy answers on a port as a daemon of another role would, and keeps the tokens
// that it is sent.
type spy struct {
	mu     sync.Mutex
	tokens []string
	calls  int
}

func (s *spy) serve(t *testing.T, port int, health api.Health) {
	t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls++
		if token := r.Header.Get("Authorization"); token != "" {
			s.tokens = append(s.tokens, token)
		}
		_ = json.NewEncoder(w).Encode(health)
	})}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close() })
}

// What answers where a queen or a hive is looked for is asked who it is, without
// a token.
func TestTokenIsNotSentToStrangers(t *testing.T) {
	need(t, 8080, 9200)
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var s spy
	s.serve(t, 8080, api.Health{Role: "web", Mode: core.Persistent, Version: core.Version})
	s.serve(t, 9200, api.Health{Role: "web", Mode: core.Persistent, Version: core.Version})
	r := w.startEnv([]string{"RBEE_TOKEN_FILE=" + file}, "rbee", "infer", "--max-tokens", "5", "what is a hive?")
	r.expect(0, "port 8080 is taken", "port 9200 is taken", "nothing left")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls < 2 || len(s.tokens) != 0 {
		t.Errorf("%d calls, with the tokens %q", s.calls, s.tokens)
	}
}

// Another user's queen and hive are not used, whatever they say of themselves.
func TestAnotherUsersDaemons(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be two users")
	}
	need(t, 8080, 9200)
	w := newWorld(t)
	home, err := os.MkdirTemp("", "nobody") //nolint:usetesting // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	if err := os.Chown(home, int(nobody.Uid), int(nobody.Gid)); err != nil {
		t.Fatal(err)
	}
	w.startAs(nobody, []string{"HOME=" + home}, "queen-rbee", "daemon") // she starts a hive
	w.healthy(8080)
	w.healthy(9200)
	r := w.start("rbee", "infer", "--max-tokens", "5", "what is a hive?")
	r.expect(0, "port 8080 is taken, the queen is on 808", "port 9200 is taken, the hive is on 920", "nothing left")
}
