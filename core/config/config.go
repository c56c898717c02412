// Package config holds every setting with its default, and where settings come
// from: RBEE_* in the environment over the config file over the defaults. Flags
// go over all of them; that is the business of whoever has flags.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"rbee/core"
)

// Settings are all settings.
type Settings struct {
	Paths     Paths
	Limits    Limits
	TokenFile string   // empty: none
	ModelDirs []string // files in them may be named in requests; read only
	MemoryMax int64    // bytes that the workers of a machine may take together; 0: all there is
	NVML      string   // library that sees the GPUs; empty: the usual one, "none": no GPU is seen
	Nodes     map[string]Node
	Models    Models
	Hub       Hub
	Terminal  Terminal
}

// Terminal is what a terminal may be sent.
type Terminal struct {
	Colours bool // no NO_COLOR
	Cursor  bool // the lines before may be written over
}

// Paths are where rbee keeps things. RBEE_HOME moves all of them together.
type Paths struct {
	Home   string // ~/.rbee: the catalog and nothing else
	Data   string // models that were copied here
	State  string // logs, what was set aside
	Config string // the config file that was read; empty: none
	Own    string // the config file of this person, whether it is there or not
	Token  string // where rbee token new puts a token, which then is the default

	Aliases string // short names of models, beside the config file of this person
}

// Catalog is the file of the catalog.
func (p Paths) Catalog() string { return filepath.Join(p.Home, "models.db") }

// Models is the directory of copied models.
func (p Paths) Models() string { return filepath.Join(p.Data, "models") }

// file is the config file.
type file struct {
	TokenFile string                  `toml:"token_file"`
	ModelDirs []string                `toml:"models_dirs"`
	MemoryMax string                  `toml:"memory_max"`
	Limits    map[string]tomlDuration `toml:"limits"`
	Node      map[string]Node         `toml:"node"`
	Models    modelsFile              `toml:"models"`
	Model     map[string]modelFile    `toml:"model"`
}

// tomlDuration is a duration as Go writes it, or a number of seconds.
type tomlDuration string

func (d *tomlDuration) UnmarshalText(b []byte) error {
	*d = tomlDuration(b)
	return nil
}

// Load returns the settings that the environment, as os.Environ gives it, and the
// config file make.
func Load(environ []string) (Settings, error) {
	env := func(name string) string {
		for _, pair := range slices.Backward(environ) { // the last one counts
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	}
	term := env("TERM")
	s := Settings{
		Paths: paths(env), Limits: DefaultLimits(), NVML: env("RBEE_NVML"),
		Terminal: Terminal{Colours: env("NO_COLOR") == "" && term != "dumb", Cursor: term != "" && term != "dumb"},
	}
	if err := s.readFile(env); err != nil {
		return Settings{}, err
	}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if key, ok := strings.CutPrefix(name, "RBEE_LIMITS_"); ok && value != "" {
			if err := s.Limits.set(strings.ToLower(key), value); err != nil {
				return Settings{}, invalid(name, err)
			}
		}
	}
	if v := env("RBEE_TOKEN_FILE"); v != "" {
		s.TokenFile = v
	}
	if _, err := os.Stat(s.Paths.Token); s.TokenFile == "" && err == nil {
		s.TokenFile = s.Paths.Token
	}
	if v := env("RBEE_MODELS_DIR"); v != "" {
		s.ModelDirs = filepath.SplitList(v)
	}
	if v := env("RBEE_MEMORY_MAX"); v != "" {
		n, err := Size(v)
		if err != nil {
			return Settings{}, invalid("RBEE_MEMORY_MAX", err)
		}
		s.MemoryMax = n
	}
	s.Hub = hub(env)
	return s, s.Models.fromEnv(env)
}

// paths follows the XDG rules, or RBEE_HOME.
func paths(env func(string) string) Paths {
	if root := env("RBEE_HOME"); root != "" {
		return Paths{
			Home: root, Data: filepath.Join(root, "data"), State: filepath.Join(root, "state"),
			Config: filepath.Join(root, "config.toml"), Token: filepath.Join(root, "token"), Aliases: filepath.Join(root, "aliases.toml"),
		}
	}
	home := env("HOME")
	in := func(variable string, fallback ...string) string {
		if dir := env(variable); filepath.IsAbs(dir) {
			return filepath.Join(dir, "rbee")
		}
		return filepath.Join(append(append([]string{home}, fallback...), "rbee")...)
	}
	return Paths{
		Home: filepath.Join(home, ".rbee"), Data: in("XDG_DATA_HOME", ".local", "share"),
		State: in("XDG_STATE_HOME", ".local", "state"), Config: filepath.Join(in("XDG_CONFIG_HOME", ".config"), "config.toml"),
		Token: filepath.Join(in("XDG_CONFIG_HOME", ".config"), "token"), Aliases: filepath.Join(in("XDG_CONFIG_HOME", ".config"), "aliases.toml"),
	}
}

// readFile reads $RBEE_CONFIG, which must be there, or else the first of the
// user's and the system's file that is.
func (s *Settings) readFile(env func(string) string) error {
	candidates, required := []string{s.Paths.Config, "/etc/rbee/config.toml"}, false
	if f := env("RBEE_CONFIG"); f != "" {
		candidates, required = []string{f}, true
	}
	s.Paths.Own, s.Paths.Config = candidates[0], ""
	for _, name := range candidates {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) && !required {
			continue
		}
		if err != nil {
			return invalid("config file", err)
		}
		s.Paths.Config = name
		return s.parse(name, b)
	}
	return nil
}

func (s *Settings) parse(name string, b []byte) error {
	var f file
	d := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return invalid(name, Locate(err))
	}
	for key, v := range f.Limits {
		if err := s.Limits.set(key, string(v)); err != nil {
			return invalid(name+": limits."+key, err)
		}
	}
	if err := checkNodes(f.Node); err != nil {
		return invalid(name, err)
	}
	if f.MemoryMax != "" {
		n, err := Size(f.MemoryMax)
		if err != nil {
			return invalid(name+": memory_max", err)
		}
		s.MemoryMax = n
	}
	s.TokenFile, s.ModelDirs, s.Nodes = f.TokenFile, f.ModelDirs, f.Node
	if err := s.Models.fromFile(f.Models, f.Model); err != nil {
		return invalid(name, err)
	}
	return nil
}

// Locate adds the line to an error of the TOML library.
func Locate(err error) error {
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(unknown.Errors) > 0 {
		line, _ := unknown.Errors[0].Position()
		return fmt.Errorf("line %d: unknown key %q", line, strings.Join(unknown.Errors[0].Key(), "."))
	}
	if bad, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := bad.Position()
		return fmt.Errorf("line %d: %w", line, err)
	}
	return err
}

func invalid(what string, err error) error {
	return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("%s: %v", what, err), Cause: err}
}

// Duration reads a duration from 0 on as Go writes it; a bare number is seconds.
func Duration(v string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(v, 64); err == nil {
		v = strconv.FormatFloat(n, 'f', -1, 64) + "s"
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 30s or 5m", v)
	}
	if d < 0 {
		return 0, fmt.Errorf("%q is negative", v)
	}
	return d, nil
}

// Size reads a number of bytes such as 8GiB, 500MB or 1073741824.
func Size(v string) (int64, error) {
	units := []struct {
		name string
		n    float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1}}
	for _, u := range units {
		number, ok := strings.CutSuffix(v, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if bytes := n * u.n; err == nil && bytes >= 0 && bytes < 1<<62 {
			return int64(bytes), nil
		}
	}
	return 0, fmt.Errorf("%q is not a size such as 8GiB or 500MB", v)
}
