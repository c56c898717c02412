package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rbee/core"
)

func TestLoad(t *testing.T) {
	tests := map[string]struct {
		toml  string
		env   map[string]string
		check func(Settings) bool
		fails string // part of the message; "" is no error
	}{
		"defaults":       {"", nil, func(s Settings) bool { return s.Limits == DefaultLimits() && s.Paths.Config == "" }, ""},
		"file":           {"models_dirs = ['/m']\n[limits]\nidle = '1m'\n", nil, func(s Settings) bool { return s.Limits.Idle == time.Minute && s.ModelDirs[0] == "/m" }, ""},
		"env over file":  {"[limits]\nidle = '1m'\n", map[string]string{"RBEE_LIMITS_IDLE": "2.5"}, func(s Settings) bool { return s.Limits.Idle == 2500*time.Millisecond }, ""},
		"unknown key":    {"\n\nmodel_dir = 'x'\n", nil, nil, `line 3: unknown key "model_dir"`},
		"unknown limit":  {"[limits]\nidel = '1m'\n", nil, nil, "limits.idel: unknown limit"},
		"broken file":    {"x = = 1", nil, nil, "line 1"},
		"bad limit":      {"", map[string]string{"RBEE_LIMITS_BEAT": "soon"}, nil, "RBEE_LIMITS_BEAT"},
		"no beat":        {"", map[string]string{"RBEE_LIMITS_BEAT": "0"}, nil, "RBEE_LIMITS_BEAT: is 0, want more than 0"},
		"no idle end":    {"", map[string]string{"RBEE_LIMITS_IDLE": "0"}, func(s Settings) bool { return s.Limits.Idle == 0 }, ""},
		"no such limit":  {"", map[string]string{"RBEE_LIMITS_NOPE": "3"}, nil, "RBEE_LIMITS_NOPE: unknown limit"},
		"negative limit": {"", map[string]string{"RBEE_LIMITS_BEAT": "-1s"}, nil, "negative"},
		"memory":         {"memory_max = '8GiB'\n", nil, func(s Settings) bool { return s.MemoryMax == 8<<30 }, ""},
		"nvml":           {"", map[string]string{"RBEE_NVML": "none"}, func(s Settings) bool { return s.NVML == "none" }, ""},
		"memory by env":  {"memory_max = '8GiB'\n", map[string]string{"RBEE_MEMORY_MAX": "1.5 MB"}, func(s Settings) bool { return s.MemoryMax == 1_500_000 }, ""},
		"bad memory":     {"memory_max = 'much'\n", nil, nil, `memory_max: "much" is not a size`},
		"no memory":      {"", map[string]string{"RBEE_MEMORY_MAX": "-1GB"}, nil, "RBEE_MEMORY_MAX"},
		"models": {
			"[models]\nmax_bytes = '50GB'\nbandwidth = '2MB'\n[model.\"org/repo:Q4_K_M\"]\npin = true\n[model.tinyllama]\npin = false\n",
			map[string]string{"RBEE_MODELS_BANDWIDTH": "0"},
			func(s Settings) bool {
				return s.Models.MaxBytes == 50_000_000_000 && s.Models.Bandwidth == 0 && slices.Equal(s.Models.Pinned, []string{"org/repo:Q4_K_M"})
			}, "",
		},
		"models by env": {"[models]\nmax_bytes = '50GB'\n", map[string]string{"RBEE_MODELS_MAX": "1GB"}, func(s Settings) bool { return s.Models.MaxBytes == 1e9 }, ""},
		"bad bandwidth": {"[models]\nbandwidth = 'fast'\n", nil, nil, `models.bandwidth: "fast" is not a size`},
		"bad cap":       {"", map[string]string{"RBEE_MODELS_MAX": "all"}, nil, `RBEE_MODELS_MAX: "all" is not a size`},
		"hub":           {"", map[string]string{"HF_ENDPOINT": "http://h", "HF_TOKEN": " t\n"}, func(s Settings) bool { return s.Hub == Hub{"http://h", "t"} }, ""},
		"old name":      {"", map[string]string{"HUGGING_FACE_HUB_TOKEN": "t"}, func(s Settings) bool { return s.Hub.Token == "t" }, ""},
		"no such file":  {"", map[string]string{"RBEE_CONFIG": "/nowhere/config.toml"}, nil, "/nowhere/config.toml"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			if tt.toml != "" {
				if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte(tt.toml), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			environ := []string{"RBEE_HOME=" + home}
			for k, v := range tt.env {
				environ = append(environ, k+"="+v)
			}
			s, err := Load(environ)
			if tt.fails == "" && (err != nil || !tt.check(s)) {
				t.Errorf("got %+v, %v", s, err)
			}
			if tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails) || !errors.Is(err, core.Invalid)) {
				t.Errorf("got %v, want an invalid request that says %q", err, tt.fails)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	env := map[string]string{"HOME": "/home/u", "XDG_DATA_HOME": "/data", "XDG_STATE_HOME": "relative"}
	p := paths(func(k string) string { return env[k] })
	if p.Catalog() != "/home/u/.rbee/models.db" || p.Models() != "/data/rbee/models" || p.State != "/home/u/.local/state/rbee" {
		t.Errorf("got %+v", p)
	}
}

// The token that the hub's own tools left in a file is found where they put it.
func TestHubTokenFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string]string{"path": "HF_TOKEN_PATH=" + file, "home": "HF_HOME=" + dir} {
		s, err := Load([]string{"RBEE_HOME=" + t.TempDir(), env})
		if err != nil || s.Hub.Token != "secret" {
			t.Errorf("%s: %q, %v", name, s.Hub.Token, err)
		}
	}
}
