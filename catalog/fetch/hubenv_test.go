package fetch_test

import (
	"os"
	"path/filepath"
	"testing"

	"rbee/catalog/fetch"
)

func TestHubFromEnv(t *testing.T) {
	home := t.TempDir()
	write := func(name, token string) string {
		name = filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write(".cache/huggingface/token", "of-home\n")
	write("cache/huggingface/token", "of-cache")
	write("hf/token", " of-hf-home \r\n")
	other := write("other", "of-path")
	tests := map[string]struct {
		env  map[string]string
		want fetch.HubOptions
	}{
		"nothing":          {map[string]string{"HOME": "/nowhere"}, fetch.HubOptions{}},
		"endpoint":         {map[string]string{"HF_ENDPOINT": "https://m.example", "HF_TOKEN": " t\n"}, fetch.HubOptions{Endpoint: "https://m.example", Token: "t"}},
		"the old name":     {map[string]string{"HUGGING_FACE_HUB_TOKEN": "t"}, fetch.HubOptions{Token: "t"}},
		"home":             {map[string]string{"HOME": home}, fetch.HubOptions{Token: "of-home"}},
		"XDG":              {map[string]string{"HOME": home, "XDG_CACHE_HOME": home + "/cache"}, fetch.HubOptions{Token: "of-cache"}},
		"HF_HOME":          {map[string]string{"HOME": home, "XDG_CACHE_HOME": home + "/cache", "HF_HOME": home + "/hf"}, fetch.HubOptions{Token: "of-hf-home"}},
		"HF_TOKEN_PATH":    {map[string]string{"HF_HOME": home + "/hf", "HF_TOKEN_PATH": other}, fetch.HubOptions{Token: "of-path"}},
		"HF_TOKEN over it": {map[string]string{"HF_HOME": home + "/hf", "HF_TOKEN": "t"}, fetch.HubOptions{Token: "t"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := fetch.HubFromEnv(func(name string) string { return tt.env[name] })
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}
