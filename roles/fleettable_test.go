package roles

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rbee/core/api"
	"rbee/core/config"
	"rbee/core/lease"
	"rbee/roles/fleettest"
)

//go:embed testdata/fleet.txt
var fleetTable string

// A cell is a line of the table, whose head says what the columns mean.
type cell struct {
	mode, node, phase, fault, role string
	keeper                         string
	says, then, lives              []string
	within                         time.Duration
	todo                           string
}

func (c cell) name() string {
	return strings.Join([]string{c.mode, c.node, c.phase, c.fault, c.role}, "/")
}

// cells reads the table.
func cells(t *testing.T) (all []cell) {
	t.Helper()
	for line := range strings.Lines(fleetTable) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		col := strings.Split(strings.TrimSpace(line), "|")
		for i := range col {
			col[i] = strings.TrimSpace(col[i])
		}
		col = append(col, "")
		within, err := time.ParseDuration(col[9])
		if err != nil {
			t.Fatalf("fleet.txt: %q: %v", line, err)
		}
		c := cell{
			mode: col[0], node: col[1], phase: col[2], fault: col[3], role: col[4], keeper: col[5],
			says: split(col[6], ";"), then: strings.Fields(col[7]), lives: split(col[8], ","), within: within, todo: col[10],
		}
		if !slices.Contains(c.then, "ends") {
			c.then = append([]string{"ends"}, c.then...)
		}
		all = append(all, c)
	}
	return all
}

func split(list, by string) []string {
	all := strings.Split(list, by)
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// Whatever happens to whom, whenever: what is left is what the table says, in time,
// and the keeper says what happened.
func TestFleetTable(t *testing.T) {
	fleetTest(t)
	for _, c := range cells(t) {
		t.Run(c.name(), func(t *testing.T) {
			if c.todo != "" {
				t.Skip("todo: " + c.todo)
			}
			playCell(t, c)
		})
	}
}

// A scene is a cell being played.
type scene struct {
	*fleetWorld
	cell

	run    *run
	target signaller    // of the fault
	hives  []lease.Proc // of the node, when it came
	began  time.Time    // when something was done last
}

func playCell(t *testing.T, c cell) {
	t.Helper()
	logins := map[string]fleettest.Login{"plain": fleettest.Plain, "root": fleettest.Root, "fish": fleettest.Fish}
	s := &scene{cell: c}
	if login, ok := logins[c.node]; ok {
		s.fleetWorld = newFleet(t, login)
	} else {
		s.fleetWorld = newFleet(t)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("alive: %v", s.alive())
			s.logs()
		}
	})
	s.daemons()
	s.command()
	s.strike()
	for _, step := range c.then {
		s.step(step)
	}
	s.left(c.lives)
	s.files()
	t.Logf("%v after the last step", time.Since(s.began).Round(10*time.Millisecond))
}

// daemons starts what the mode says runs already.
func (s *scene) daemons() {
	s.t.Helper()
	switch s.mode {
	case "borrowed":
		out, err := s.shell("nohup .local/bin/rbee-hive daemon > hive.log 2>&1 < /dev/null &")
		if err != nil {
			s.t.Fatalf("ssh: %v: %s", err, out)
		}
		s.until("the operator's hive is up", func() bool {
			b, _ := os.ReadFile(s.Machine(s.node).Path("hive.log"))
			return strings.Contains(string(b), "hive up")
		})
	case "persistent":
		s.queen()
	}
}

// shell runs a line in the shell of the node, by ssh.
func (s *scene) shell(line string) (string, error) {
	out := &strings.Builder{}
	cmd := exec.Command("ssh", s.node, line)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, s.env()
	if err := s.Home.Start(cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return out.String(), err
}

// queen starts a persistent queen at home.
func (s *scene) queen() {
	s.t.Helper()
	q := s.start("queen-rbee", "daemon")
	s.until("the queen is up", func() bool { return strings.Contains(q.stderr(), "queen up") })
}

// command starts the keeper's command, and returns in the cell's phase.
func (s *scene) command() {
	s.t.Helper()
	layers, words, tokens := s.size()
	args := []string{
		"infer", "--json", "--model", s.share(bigModel(s.t, layers)), "--prompt", strings.Repeat("a ", words),
		"--temperature", "0", "--max-tokens", fmt.Sprint(tokens), "--threads", "1",
	}
	if s.mode != "local" {
		args = append(args, "--node", s.node)
	}
	s.run = s.start("rbee", args...)
	events := map[string]func(api.Event) bool{
		"queen": phase(api.QueenStart), "connect": phase(api.SSHConnect), "push": phase(api.Push),
		"load": phase(api.Load), "prefill": phase(api.Prefill), "decode": token(5),
	}
	if s.phase == "idle" {
		s.run.expect(0)
	} else if event, ok := events[s.phase]; ok {
		s.run.reach(s.phase, event)
	} else {
		s.t.Fatalf("fleet.txt: no phase %q", s.phase)
	}
}

// size is how much the command asks for. An answer that must not come to its end
// takes longer than a beat may be lost.
func (s *scene) size() (layers, words, tokens int) {
	long := 4
	if s.divide == 1 {
		long = 12
	}
	switch {
	case s.phase == "push" && s.keeper == "0":
		return 16, 3, 20
	case s.phase == "load" || s.phase == "push":
		return 16, 3, 1900
	case s.phase == "prefill":
		return long, 900, 1000
	case s.phase == "idle":
		return 2, 3, 5
	case s.keeper == "0" && s.fault == "TERM": // it has the time of a drain
		return 2, 3, 60
	case s.keeper == "0":
		return 2, 3, 300
	}
	return long, 3, 1900
}

// where is the machine of a role.
func (s *scene) where(role string) string {
	if s.mode == "local" || role == "keeper" || role == "queen" {
		return "home"
	}
	return s.node
}

// called is what a role is called in lists of processes.
var called = map[string]string{"keeper": "rbee", "queen": "queen-rbee", "hive": "rbee-hive", "worker": "llm-worker-rbee"}

// strike does what the cell is about.
func (s *scene) strike() {
	s.t.Helper()
	m := s.Machine(s.where(s.role))
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP}
	sig, isSignal := signals[s.fault]
	switch {
	case isSignal && s.role == "keeper":
		s.target = command{s.run.cmd.Process}
	case isSignal:
		s.target = s.on(m.Name, called[s.role])
	}
	s.hives, s.began = s.hivesNow(), time.Now()
	switch {
	case isSignal:
		signal(s.t, s.target, sig)
	case s.fault == "cut":
		m.Cut()
	case s.fault == "off":
		m.PowerOff()
	default:
		s.t.Fatalf("fleet.txt: no fault %q", s.fault)
	}
}

// hivesNow are those on the node.
func (s *scene) hivesNow() []lease.Proc {
	return slices.DeleteFunc(s.procs("rbee-hive"), func(p lease.Proc) bool {
		m := s.Machine(s.node)
		return m == nil || !m.Runs(p.PID)
	})
}

// step does one of the cell's further steps.
func (s *scene) step(step string) {
	s.t.Helper()
	m := s.Machine(s.where(s.role))
	verb, names, _ := strings.Cut(step, "=")
	undone := true
	switch verb {
	case "ends":
		s.ends()
		return
	case "lives":
		s.left(strings.Split(names, ","))
		return
	case "same":
		if now := s.hivesNow(); !slices.Equal(now, s.hives) {
			s.t.Errorf("the hives on %s are %v, and were %v", s.node, now, s.hives)
		}
		return
	case "short":
		<-time.After(config.DefaultLimits().BeatLost / time.Duration(4*s.divide))
		return
	case "holds":
		s.holds()
	case "cont":
		signal(s.t, s.target, syscall.SIGCONT)
	case "term":
		signal(s.t, command{s.run.cmd.Process}, syscall.SIGTERM)
	case "heal":
		m.Heal()
	case "on":
		m.PowerOn()
	case "queen":
		s.queen()
	case "again":
		s.again()
	default:
		undone = false
	}
	if !undone {
		s.t.Fatalf("fleet.txt: no step %q", step)
	}
	s.began = time.Now()
}

// ends waits for the keeper's end.
func (s *scene) ends() {
	s.t.Helper()
	if s.phase == "idle" {
		return // before the fault
	}
	status := -1
	if s.keeper != "killed" {
		if _, err := fmt.Sscan(s.keeper, &status); err != nil {
			s.t.Fatalf("fleet.txt: keeper: %v", err)
		}
	}
	s.run.expect(status, s.says...)
	if took, most := time.Since(s.began), s.in(s.within); took > most {
		s.t.Errorf("the keeper ended after %v, want %v", took, most)
	}
}

// left waits until exactly these roles live.
func (s *scene) left(roles []string) {
	s.t.Helper()
	var want []string
	for _, role := range roles {
		want = append(want, s.where(role)+":"+called[role])
	}
	slices.Sort(want)
	var got []string
	for end := s.began.Add(s.in(s.within)); ; time.Sleep(10 * time.Millisecond) {
		if got = s.others(roles); slices.Equal(got, want) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("after %v there are %v, want %v; %v", time.Since(s.began), got, want, s.procs(""))
		}
	}
}

// others are who lives, but for what a persistent queen has at home.
func (s *scene) others(expected []string) []string {
	list := s.alive()
	if s.mode == "persistent" && slices.Contains(expected, "queen") {
		list = slices.DeleteFunc(list, func(who string) bool { return who == "home:rbee-hive" })
	}
	return list
}

// holds sees that for longer than a lost beat nobody ends.
func (s *scene) holds() {
	s.t.Helper()
	before := s.alive()
	for end := time.Now().Add(config.DefaultLimits().BeatLost * 5 / 4 / time.Duration(s.divide)); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if now := s.alive(); !slices.Equal(now, before) {
			s.t.Fatalf("there were %v, and now %v", before, now)
		}
	}
}

// again asks once more.
func (s *scene) again() {
	s.t.Helper()
	args := []string{"infer", "--max-tokens", "5", "what is a hive?"}
	if s.mode != "local" {
		args = append(args, "--node", s.node)
	}
	s.start("rbee", args...).expect(0)
}

// files sees that ~/.rbee holds the catalog and nothing else. Who was killed may
// have been writing.
func (s *scene) files() {
	s.t.Helper()
	for _, m := range s.Machines() {
		entries, _ := os.ReadDir(m.Path(".rbee"))
		for _, e := range entries {
			journal := e.Name() == "models.db-journal" && (s.fault == "KILL" || s.fault == "off" || s.fault == "STOP") // who is stopped is killed in the end
			if e.Name() != "models.db" && !journal {
				s.t.Errorf("~/.rbee of %s holds %s", m.Name, e.Name())
			}
		}
	}
}

// logs shows what the node said.
func (s *scene) logs() {
	if m := s.Machine(s.node); m != nil {
		for _, name := range []string{m.Path("hive.log"), m.Path("..", "log")} {
			b, _ := os.ReadFile(name)
			s.t.Logf("%s: %s", name, b)
		}
	}
}
