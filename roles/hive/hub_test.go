package hive

import (
	"errors"
	"strings"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/config"
	"rbee/core/lease"
)

// The machine's own environment wins, and no token goes to another hub than its own.
func TestHubOf(t *testing.T) {
	queens := lease.Boot{HubEndpoint: "https://mirror", HubToken: "hers"}
	tests := map[string]struct {
		own  config.Hub
		boot lease.Boot
		want config.Hub
	}{
		"nothing":            {config.Hub{}, lease.Boot{}, config.Hub{}},
		"the queen's":        {config.Hub{}, queens, config.Hub{Endpoint: "https://mirror", Token: "hers"}},
		"a token of its own": {config.Hub{Token: "own"}, lease.Boot{HubToken: "hers"}, config.Hub{Token: "own"}},
		"for another hub":    {config.Hub{Token: "own"}, queens, config.Hub{Endpoint: "https://mirror", Token: "hers"}},
		"a hub of its own":   {config.Hub{Endpoint: "https://other"}, queens, config.Hub{Endpoint: "https://other"}},
		"the same hub":       {config.Hub{Endpoint: "https://mirror"}, queens, config.Hub{Endpoint: "https://mirror", Token: "hers"}},
		"both of its own":    {config.Hub{Endpoint: "https://other", Token: "own"}, queens, config.Hub{Endpoint: "https://other", Token: "own"}},
	}
	for name, tt := range tests {
		if got := hubOf(tt.own, tt.boot); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
}

func TestCheckCopy(t *testing.T) {
	file := api.ModelFile{Name: "m.gguf", SizeBytes: 7, SHA256: strings.Repeat("a", 64)}
	whole := api.Copy{ModelRef: "hf:o/r:Q4_K_M", Files: []api.ModelFile{file}}
	tests := map[string]struct {
		change func(*api.Copy)
		ok     bool
	}{
		"whole":              {func(*api.Copy) {}, true},
		"the queen's tunnel": {func(c *api.Copy) { c.URL = "http://127.0.0.1:4711" }, true},
		"elsewhere":          {func(c *api.Copy) { c.URL = "http://10.0.0.1:4711" }, false},
		"by a name":          {func(c *api.Copy) { c.URL = "http://localhost.evil.example" }, false},
		"another scheme":     {func(c *api.Copy) { c.URL = "file://127.0.0.1/etc/passwd" }, false},
		"no files":           {func(c *api.Copy) { c.Files = nil }, false},
		"no model":           {func(c *api.Copy) { c.ModelRef = "" }, false},
		"no hash":            {func(c *api.Copy) { c.Files = []api.ModelFile{{Name: "m", SizeBytes: 7}} }, false},
		"no size":            {func(c *api.Copy) { c.Files = []api.ModelFile{{Name: "m", SHA256: file.SHA256}} }, false},
	}
	for name, tt := range tests {
		c := whole
		tt.change(&c)
		if err := checkCopy(c); tt.ok != (err == nil) || err != nil && !errors.Is(err, core.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
