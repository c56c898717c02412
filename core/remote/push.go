package remote

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"rbee/core"
	"rbee/core/lease"
)

// An Install is how this version of our program came to be on a node.
type Install struct {
	Path  string // there
	Was   string // the version that lay in its place; empty: none, or it was there already
	Bytes int64  // that were sent; 0: it was there
	Size  int64  // of the program
	Took  time.Duration
}

// Pushing says how to push.
type Pushing struct {
	Force    bool                    // also over a newer version, and over this very one
	Stall    time.Duration           // without progress that ends it; 0: never
	Progress func(sent, total int64) // of the program's own bytes; may be nil
}

// Provide returns this version of our program on the node, which it pushes to
// ~/.local/bin/rbee if need be. A newer version there is VERSION_MISMATCH: whoever
// put it there would get it taken away. A version is its name and nothing else: two
// builds of one name do not replace each other. What runs there is not touched.
func (c *Conn) Provide(ctx context.Context, f Facts, how Pushing) (Install, error) {
	return c.provide(ctx, f, how, Ours)
}

func (c *Conn) provide(ctx context.Context, f Facts, how Pushing, programs func(system, arch string) ([]Program, error)) (Install, error) {
	var ours Found
	for _, p := range f.Programs {
		if p.Version == core.Version && !how.Force {
			return Install{Path: p.Path}, nil
		}
		if p.Path == f.place() {
			ours = p
		}
	}
	if Newer(ours.Version, core.Version) && !how.Force {
		return Install{}, mismatch(c.node.label(), ours)
	}
	list, err := programs(f.OS, f.Arch)
	if err != nil {
		return Install{}, err
	}
	i, err := c.pushFirst(ctx, f, list, how)
	i.Was = ours.Version
	return i, err
}

// pushFirst pushes the first program that starts on the node.
func (c *Conn) pushFirst(ctx context.Context, f Facts, list []Program, how Pushing) (Install, error) {
	var first error
	for _, p := range list {
		i, err := c.push(ctx, f, p, how)
		if err == nil {
			return i, nil
		}
		if first == nil {
			first = err
		}
		if !errors.Is(err, core.Unsupported) { // another program would fare no better
			return Install{}, err
		}
	}
	return Install{}, first
}

// place is where a push puts our program.
func (f Facts) place() string { return strings.Replace(installed, "$HOME", f.Home, 1) }

func mismatch(node string, there Found) error {
	return &core.Fault{
		Kind: core.VersionMismatch, What: fmt.Sprintf("node %s has rbee %s, this is %s", node, there.Version, core.Version),
		Facts: []core.Fact{core.Text("there", there.Version), core.Text("here", core.Version)},
		Try:   fmt.Sprintf("use the newer one here, too; or rbee node upgrade --force %s", node),
	}
}

// receive takes the program from stdin: $1 is cat or gzip, $2 its sha256, $3 what it
// must say as its version, $4 is yes to replace that very version. It lies in a directory of its own until everything is proven, and
// whatever ends the script takes that away. Each step that may fail has its status.
const receive = `umask 077
d="$HOME/.local/bin"
mkdir -p "$d" || exit 40
find "$d" -maxdepth 1 -name '.rbee.??????' -mtime +0 -exec rm -rf {} + 2>/dev/null # of a node that lost its power
t=$(mktemp -d "$d/.rbee.XXXXXX") || exit 40
trap 'rm -rf "$t"' EXIT
trap 'exit 41' HUP INT TERM PIPE
if [ "$1" = gzip ]; then gzip -dc >"$t/rbee"; else cat >"$t/rbee"; fi || exit 41
s=$(sha256sum "$t/rbee" 2>/dev/null || shasum -a 256 "$t/rbee" 2>/dev/null || sha256 -q "$t/rbee" 2>/dev/null || openssl dgst -sha256 -r "$t/rbee") || exit 42
[ "${s%% *}" = "$2" ] || exit 43
chmod 700 "$t/rbee" || exit 40
v=$("$t/rbee" version </dev/null) || exit 44
v=$(printf '%s\n' "$v" | tail -n 1)
[ "$v" = "$3" ] || { printf '%s\n' "$v" >&2; exit 45; }
if [ -e "$d/rbee" ]; then
	cp -p "$d/rbee" "$t/old" || exit 40 # another push may come between
	if [ "$4" != yes ] && [ "$("$t/old" version 2>/dev/null </dev/null)" = "$3" ]; then exit 0; fi
	mv -f "$t/old" "$d/rbee.old" || exit 40
fi
mv -f "$t/rbee" "$d/rbee" || exit 40`

// push sends a program and has it put in place, or says why it was not.
func (c *Conn) push(ctx context.Context, f Facts, p Program, how Pushing) (Install, error) {
	if err := p.Starts(f); err != nil {
		return Install{}, err
	}
	began := time.Now()
	size, digest, err := sum(p.Path)
	if err != nil {
		return Install{}, fmt.Errorf("remote: push: %w", err)
	}
	if need := 2*size + size/8; f.DiskFreeBytes > 0 && f.DiskFreeBytes < need {
		return Install{}, &core.Fault{
			Kind: core.InsufficientDisk, What: fmt.Sprintf("node %s has no room for rbee in %s", c.node.label(), f.Home),
			Facts: []core.Fact{core.Number("required_bytes", need), core.Number("available_bytes", f.DiskFreeBytes)},
			Try:   fmt.Sprintf("ssh %s df -h %s", c.node.label(), f.Home),
		}
	}
	unpack, replace := "cat", "no"
	if f.Gzip {
		unpack = "gzip"
	}
	if how.Force {
		replace = "yes"
	}
	argv := []string{"sh", "-c", receive, "sh", unpack, digest, "rbee " + core.Version, replace}
	sent, err := c.send(ctx, argv, p.Path, size, f.Gzip, how)
	if err != nil {
		return Install{}, c.notPushed(p, f, err)
	}
	return Install{Path: f.place(), Bytes: sent, Size: size, Took: time.Since(began)}, nil
}

// A pushError is how the script on the node ended.
type pushError struct {
	status int
	words  string
}

func (e *pushError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.words) }

// notPushed says what the end of the script means.
func (c *Conn) notPushed(p Program, f Facts, err error) error {
	e, ok := errors.AsType[*pushError](err)
	if !ok {
		return fmt.Errorf("remote: %s: push: %w", c.node.label(), err)
	}
	fault := &core.Fault{Kind: core.NodeUnreachable, Cause: err, Facts: []core.Fact{core.Text("said", e.words)}, Try: "rbee node check " + c.node.label()}
	switch e.status {
	case 40:
		fault.What = fmt.Sprintf("node %s: rbee cannot be written to %s", c.node.label(), f.place())
	case 42:
		fault.What = fmt.Sprintf("node %s has no program that computes sha256", c.node.label())
	case 41, 43:
		fault.What = fmt.Sprintf("node %s: rbee did not arrive whole", c.node.label())
	case 44:
		libc := p.wrongLibc(f, "another libc, or another processor")
		fault.Kind, fault.What, fault.Try = core.Unsupported, fmt.Sprintf("%s does not start on node %s", p.Name, c.node.label()), core.FaultOf(libc).Try
		fault.Facts = append(fault.Facts, core.FaultOf(libc).Facts...)
	case 45:
		fault.Kind, fault.What = core.VersionMismatch, fmt.Sprintf("%s is another version than this program, %s", p.Name, core.Version)
		fault.Try = "put the same version there"
	default:
		fault.What = fmt.Sprintf("node %s: the push failed: %v", c.node.label(), err)
	}
	return fault
}

// send runs argv with the file on its stdin and returns how many bytes that took.
func (c *Conn) send(ctx context.Context, argv []string, path string, total int64, packed bool, how Pushing) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := &core.Fault{Kind: core.NodeUnreachable, What: fmt.Sprintf("node %s has taken nothing for %v", c.node.label(), how.Stall), Try: "ssh " + c.node.label()}
	late := time.AfterFunc(1<<62, func() { cancel(stalled) })
	defer late.Stop()
	in := &meter{r: file, moved: func(n int64) {
		if how.Stall > 0 && n < total {
			late.Reset(how.Stall)
		} else if how.Stall > 0 { // what is under way, up to 2 MiB, is not seen to arrive
			late.Reset(10 * how.Stall)
		}
		if how.Progress != nil {
			how.Progress(n, total)
		}
	}}
	return within(ctx, c, func() (int64, error) {
		s, err := c.client.NewSession()
		if err != nil {
			return 0, unreachable(err)
		}
		defer s.Close()
		defer context.AfterFunc(ctx, func() { s.Close() })()
		var errs lease.Tail
		s.Stderr = &errs
		return feed(s, argv, in, packed, &errs)
	})
}

// feed runs argv and copies r to its stdin.
func feed(s *ssh.Session, argv []string, r io.Reader, packed bool, errs *lease.Tail) (int64, error) {
	stdin, err := s.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := s.Start("exec " + quote(argv...)); err != nil {
		return 0, unreachable(err)
	}
	out := &meter{w: stdin}
	err = pack(out, r, packed)
	err = errors.Join(err, stdin.Close())
	ended := s.Wait()
	if exit, ok := errors.AsType[*ssh.ExitError](ended); ok {
		return out.n, &pushError{exit.ExitStatus(), errs.Words()}
	}
	if ended != nil {
		return out.n, unreachable(ended)
	}
	return out.n, err
}

// pack copies r to w, compressed if so asked.
func pack(w io.Writer, r io.Reader, packed bool) error {
	if !packed {
		_, err := io.Copy(w, r)
		return err
	}
	whole := bufio.NewWriterSize(w, 32<<10) // gzip writes 240 bytes at once, and sshd takes 70 times as long for them
	z, err := gzip.NewWriterLevel(whole, gzip.BestSpeed)
	if err != nil {
		return err
	}
	_, err = io.Copy(z, r)
	return errors.Join(err, z.Close(), whole.Flush())
}

// A meter counts what passes through it.
type meter struct {
	r     io.Reader
	w     io.Writer
	n     int64
	moved func(n int64) // may be nil
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.count(n)
	return n, err
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.count(n)
	return n, err
}

func (m *meter) count(n int) {
	m.n += int64(n)
	if m.moved != nil {
		m.moved(m.n)
	}
}

// exchange makes the kept program the one in place, and that one the kept.
const exchange = `d="$HOME/.local/bin"
[ -e "$d/rbee.old" ] || exit 40
"$d/rbee.old" version </dev/null || exit 44
if [ -e "$d/rbee" ]; then mv -f "$d/rbee" "$d/rbee.swap" && mv -f "$d/rbee.old" "$d/rbee" && mv -f "$d/rbee.swap" "$d/rbee.old"; else mv -f "$d/rbee.old" "$d/rbee"; fi`

// Rollback puts the program back that the last push replaced, and returns its
// version. What runs there is not touched.
func (c *Conn) Rollback(ctx context.Context) (version string, err error) {
	said, err := c.lastOf(ctx, []string{"sh", "-c", exchange})
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		f := &core.Fault{Kind: core.NodeUnreachable, What: fmt.Sprintf("node %s: the kept program was not put back: %v", c.node.label(), err), Cause: err}
		if exit.ExitStatus() == 40 {
			f.Kind, f.What = core.NotFound, fmt.Sprintf("node %s keeps no older rbee", c.node.label())
		}
		return "", f
	}
	if err != nil {
		return "", fmt.Errorf("remote: %s: rollback: %w", c.node.label(), err)
	}
	version, ok := strings.CutPrefix(said, "rbee ")
	if !ok {
		return "", fmt.Errorf("remote: %s: rollback: %w: %.80q", c.node.label(), errNotOurs, said)
	}
	return version, nil
}
