package secure

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Ours tells whether what listens on a port of this machine's loopback is this
// user's: only then may it be lent a token. Where the system does not say, it is not.
func Ours(port int) bool {
	var tables []byte
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, _ := os.ReadFile(name) // a machine may have one only
		tables = append(tables, b...)
	}
	return Listens(string(tables), port, fmt.Sprint(os.Getuid()))
}

// Listens tells whether a port is listened on, as loopback reaches it, by this
// user and nobody else. tables are /proc/net/tcp, /proc/net/tcp6, or lines of them.
func Listens(tables string, port int, uid string) bool {
	const listening = "0A"
	found := false
	for line := range strings.Lines(tables) {
		f := strings.Fields(line) // sl local remote state … uid
		if len(f) < 8 || f[3] != listening {
			continue
		}
		addr, at, _ := strings.Cut(f[1], ":")
		if at != fmt.Sprintf("%04X", port) || !slices.Contains(loopbacks, addr) {
			continue
		}
		if f[7] != uid {
			return false
		}
		found = true
	}
	return found
}

// loopbacks are the addresses by which 127.0.0.1 is reached, as /proc has them.
var loopbacks = []string{
	"0100007F", "00000000", // 127.0.0.1, 0.0.0.0
	"00000000000000000000000000000000", "0000000000000000FFFF00000100007F", // [::], [::ffff:127.0.0.1]
}
