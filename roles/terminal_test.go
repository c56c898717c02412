package roles

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// pseudoTerminal opens a terminal of so many columns: the side of the person, and
// that of the program.
func (w *world) pseudoTerminal(columns int) (master, tty *os.File) {
	w.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		w.t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(columns)}); err != nil {
		w.t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		w.t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return master, tty
}

// A terminal shows a program what a person would see of it.
type terminal struct {
	w     *world
	keys  io.Writer // what is typed
	cmd   *exec.Cmd
	ended chan struct{}

	mu   sync.Mutex // guards what follows
	seen display
}

// terminal starts rbee at a terminal.
func (w *world) terminal(columns int, env []string, args ...string) *terminal {
	w.t.Helper()
	master, tty := w.pseudoTerminal(columns)
	exe, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	t := &terminal{w: w, keys: master, ended: make(chan struct{}), seen: display{columns: columns}}
	t.cmd = &exec.Cmd{
		Path: exe, Args: append([]string{"rbee"}, args...), Env: w.env(append([]string{"TERM=xterm"}, env...)...), Stdin: tty, Stdout: tty, Stderr: tty,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true},
	}
	if err := t.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	tty.Close()
	go func() {
		defer close(t.ended)
		_, _ = io.Copy(t, master) // ends with an error when nobody has the other side open
		_ = t.cmd.Wait()
	}()
	w.t.Cleanup(func() {
		_ = t.cmd.Process.Kill()
		<-t.ended
		master.Close()
		if w.t.Failed() {
			w.t.Logf("rbee %q\n%s", args, t.screen())
		}
	})
	return t
}

// Write takes what the program writes.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen.write(p)
	return len(p), nil
}

// screen is what is on it.
func (t *terminal) screen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen.String()
}

// frame is the last of what is drawn over and over that is whole; when the program has
// ended, the screen.
func (t *terminal) frame() string {
	select {
	case <-t.ended:
		return t.screen()
	default:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen.whole
}

// untilFrame waits until a frame shows all texts, wherever its lines end, and returns it.
func (t *terminal) untilFrame(texts ...string) (frame string) {
	t.w.t.Helper()
	t.w.until(fmt.Sprintf("the terminal shows %q", texts), func() bool {
		frame = t.frame()
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(strings.ReplaceAll(frame, "\n", ""), text) })
	})
	return frame
}

// coloured tells whether there was a colour.
func (t *terminal) coloured() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen.colours
}

// until waits until it shows a text.
func (t *terminal) until(text string) {
	t.w.t.Helper()
	t.w.until("the terminal shows "+text, func() bool { return strings.Contains(t.screen(), text) })
}

// wait waits for the end and returns the exit status.
func (t *terminal) wait() int {
	t.w.t.Helper()
	select {
	case <-t.ended:
	case <-time.After(t.w.patience):
		t.w.t.Fatalf("the program at the terminal did not end in %v", t.w.patience)
	}
	return t.cmd.ProcessState.ExitCode()
}

// A display is the little of a terminal that our program uses. All its characters
// have one column.
type display struct {
	columns  int
	rows     [][]rune
	row, col int
	colours  bool
	whole    string // what was there when the cursor last went up
	part     []byte // of a sequence or a character that is not all there
}

func (d *display) write(p []byte) {
	d.part = append(d.part, p...)
	for len(d.part) > 0 {
		n := d.one(d.part)
		if n == 0 {
			return
		}
		d.part = d.part[n:]
	}
}

// one takes a character or a sequence and returns its bytes, 0 when there are too few.
func (d *display) one(p []byte) int {
	switch {
	case p[0] == '\r':
		d.col = 0
	case p[0] == '\n':
		d.row++
	case p[0] == 0x1b:
		return d.sequence(p)
	case !utf8.FullRune(p):
		return 0
	default:
		r, n := utf8.DecodeRune(p)
		if d.col == d.columns {
			d.row, d.col = d.row+1, 0
		}
		d.put(r)
		return n
	}
	return 1
}

func (d *display) put(r rune) {
	for len(d.rows) <= d.row {
		d.rows = append(d.rows, nil)
	}
	line := d.rows[d.row]
	for len(line) <= d.col {
		line = append(line, ' ')
	}
	line[d.col] = r
	d.rows[d.row] = line
	d.col++
}

// sequence takes one that begins with ESC [.
func (d *display) sequence(p []byte) int {
	end := strings.IndexFunc(string(p), func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
	if end < 0 {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimPrefix(string(p[:end]), "\x1b["))
	switch p[end] {
	case 'A':
		d.whole = d.String()
		d.row = max(d.row-max(n, 1), 0)
	case 'J':
		d.erase()
		d.rows = d.rows[:min(d.row+1, len(d.rows))]
	case 'K':
		d.erase()
	case 'm':
		d.colours = true
	default:
		panic(fmt.Sprintf("display: sequence %q", p[:end+1]))
	}
	return end + 1
}

// erase erases from the cursor to the end of its line.
func (d *display) erase() {
	if d.row < len(d.rows) {
		d.rows[d.row] = d.rows[d.row][:min(d.col, len(d.rows[d.row]))]
	}
}

func (d *display) String() string {
	lines := make([]string, len(d.rows))
	for i, row := range d.rows {
		lines[i] = strings.TrimRight(string(row), " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
}

func TestDisplay(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"lines":          {"a\r\nb\r\n", "a\nb\n"},
		"written over":   {"a long one\rb\x1b[K", "b\n"},
		"drawn over":     {"1\r\n2\r\n\x1b[2A\x1b[J3\r\n", "3\n"},
		"behind the end": {"0123456789ab", "0123456789\nab\n"},
		"a full line":    {"0123456789\r\nab", "0123456789\nab\n"},
		"colours":        {"\x1b[36m█\x1b[0m░", "█░\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := display{columns: 10}
			for _, b := range []byte(tt.in) { // as it may come
				d.write([]byte{b})
			}
			if got := d.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
