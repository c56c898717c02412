package config

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Models are the settings of the models that were fetched to this machine.
type Models struct {
	MaxBytes  int64    // that they may take together; those unused for longest go for others. 0: as many as the disk has
	Bandwidth int64    // bytes per second that downloads may take together; 0: all there is
	Pinned    []string // names of those that never go, as the config file writes them
}

// A Hub is where models come from, and who we are there, by the environment that
// Hugging Face's own tools know.
type Hub struct {
	Endpoint string // HF_ENDPOINT; empty: Hugging Face
	Token    string // HF_TOKEN, else what huggingface-cli login left; never logged
}

// modelsFile is [models] of the config file, modelFile is [model."NAME"].
type (
	modelsFile struct {
		MaxBytes  string `toml:"max_bytes"`
		Bandwidth string `toml:"bandwidth"`
	}
	modelFile struct {
		Pin bool `toml:"pin"`
	}
)

func (m *Models) fromFile(f modelsFile, each map[string]modelFile) error {
	if err := m.set("models.max_bytes", f.MaxBytes, "models.bandwidth", f.Bandwidth); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(each)) {
		if each[name].Pin {
			m.Pinned = append(m.Pinned, name)
		}
	}
	return nil
}

func (m *Models) fromEnv(env func(string) string) error {
	const most, width = "RBEE_MODELS_MAX", "RBEE_MODELS_BANDWIDTH"
	if err := m.set(most, env(most), width, env(width)); err != nil {
		return invalid("environment", err)
	}
	return nil
}

// set reads both sizes, each by its name in errors. What is not given stays.
func (m *Models) set(mostName, most, widthName, width string) error {
	for _, one := range []struct {
		name, value string
		to          *int64
	}{{mostName, most, &m.MaxBytes}, {widthName, width, &m.Bandwidth}} {
		if one.value == "" {
			continue
		}
		n, err := Size(one.value)
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		*one.to = n
	}
	return nil
}

// hub reads what Hugging Face's own tools read, in their order.
func hub(env func(string) string) Hub {
	h := Hub{Endpoint: env("HF_ENDPOINT"), Token: strings.TrimSpace(cmp.Or(env("HF_TOKEN"), env("HUGGING_FACE_HUB_TOKEN")))}
	if h.Token == "" {
		home := cmp.Or(env("HF_HOME"), filepath.Join(cmp.Or(env("XDG_CACHE_HOME"), filepath.Join(env("HOME"), ".cache")), "huggingface"))
		b, _ := os.ReadFile(cmp.Or(env("HF_TOKEN_PATH"), filepath.Join(home, "token"))) // mostly there is none
		h.Token = strings.TrimSpace(string(b))
	}
	return h
}
