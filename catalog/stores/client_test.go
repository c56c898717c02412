package stores

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rbee/catalog/fetch/hubtest"
	"rbee/catalog/modeltest"
)

// The cache as huggingface_hub itself writes it, which it fetched from a small hub.
func TestRealClient(t *testing.T) {
	client := hubtest.Client(t)
	parts := modeltest.Parts("qwen3", 3, 64, 2)
	files := map[string][]byte{
		"m.Q8_0.gguf": modeltest.GGUF("llama", 1, 64), "README.md": []byte("text"),
		"big/" + modeltest.PartName("m", 0, 2): parts[0], "big/" + modeltest.PartName("m", 1, 2): parts[1],
	}
	hub := httptest.NewServer(hubOf(files))
	defer hub.Close()
	home := t.TempDir()
	for name := range files {
		cmd := exec.CommandContext(t.Context(), "python3", "-c", "import sys, huggingface_hub; huggingface_hub.hf_hub_download('org/repo', sys.argv[1])", name)
		cmd.Env = append(os.Environ(), client, "HOME="+home, "HF_ENDPOINT="+hub.URL, "HF_HOME=", "HF_HUB_CACHE="+filepath.Join(home, "cache"), "HF_HUB_DISABLE_XET=1", "HF_HUB_DISABLE_TELEMETRY=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("hf_hub_download of %s: %v\n%s", name, err, out)
		}
	}
	found := Find(environment(home, "HF_HUB_CACHE", filepath.Join(home, "cache")))
	if len(found) != 2 {
		t.Fatalf("found %+v", found)
	}
	big, small := found[0], found[1]
	if big.Ref != "hf:org/repo:big/m-00001-of-00002.gguf" || big.Err != nil || !big.Has(modeltest.Hash(parts[0]), modeltest.Hash(parts[1])) {
		t.Errorf("the model in parts: %+v", big)
	}
	if small.Ref != "hf:org/repo:m.Q8_0.gguf" || small.Err != nil || small.Revision != commitA || !small.Has(modeltest.Hash(files["m.Q8_0.gguf"])) {
		t.Errorf("the model of one file: %+v", small)
	}
}

// hubOf serves the files of org/repo, large ones with their SHA-256 as Hugging Face does.
func hubOf(files map[string][]byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, "/org/repo/resolve/main/")
		if !ok {
			name = strings.TrimPrefix(r.URL.Path, "/org/repo/resolve/"+commitA+"/")
		}
		content, ok := files[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		etag := `"` + modeltest.Hash(content)[:40] + `"`
		if path.Ext(name) == ".gguf" {
			etag = `"` + modeltest.Hash(content) + `"`
			w.Header().Set("X-Linked-Etag", etag)
		}
		w.Header().Set("Etag", etag)
		w.Header().Set("X-Repo-Commit", commitA)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
	})
}
