package fetch_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rbee/catalog/fetch"
	"rbee/catalog/fetch/hubtest"
)

// The real client of Hugging Face gets the same file from the test's hub as we do, under
// the same hash and commit. With a token, too, and after a drop.
func TestRealClient(t *testing.T) {
	client := hubtest.Client(t)
	hub := hubtest.New(t)
	data := content(13, 3*mega+5)
	hub.Add(repo, name, data)
	hub.Add(repo, "README.md", []byte("# a model"))
	hub.Want("sesame")
	hub.Fault(hubtest.Store, hubtest.Nth(1, hubtest.Cut(mega)))
	home := t.TempDir()
	const script = `
from huggingface_hub import hf_hub_download, HfApi
print(hf_hub_download("org/repo", "` + name + `"))
print(hf_hub_download("org/repo", "README.md"))
print(*[f.path + "=" + str(f.size) + "=" + (f.lfs.sha256 if f.lfs else "") for f in HfApi().list_repo_tree("org/repo", recursive=True)])
`
	cmd := exec.Command("python3", "-c", script)
	cmd.Env = append(os.Environ(), client, "HF_ENDPOINT="+hub.URL, "HF_HOME="+home, "HF_TOKEN=sesame",
		"HF_HUB_DISABLE_TELEMETRY=1", "HF_HUB_DISABLE_XET=1", "HF_HUB_DISABLE_PROGRESS_BARS=1", "NO_PROXY=127.0.0.1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if want := name + "=3145733=" + sumOf(data); len(lines) != 3 || !strings.Contains(lines[2], want) {
		t.Fatalf("the client lists %q, want %q in it", lines, want)
	}
	if want := filepath.Join("hub", "models--org--repo", "snapshots", hub.Commit(repo), name); !strings.HasSuffix(lines[0], want) {
		t.Errorf("the client has the file at %s, want …/%s", lines[0], want)
	}
	o := quick(t, hub)
	plan := blind(hub)
	plan.Files[0].Source = source(hub, name, "sesame")
	results, err := fetch.New(o).Fetch(t.Context(), plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, o.Dir, results, data)
	blob, err := filepath.EvalSymlinks(lines[0])
	if err != nil || filepath.Base(blob) != results[0].SHA256 {
		t.Errorf("the client's blob is %s, ours has the hash %s: %v", blob, results[0].SHA256, err)
	}
	if got, err := os.ReadFile(blob); err != nil || sumOf(got) != results[0].SHA256 {
		t.Errorf("the client's file has the hash %s, want %s: %v", sumOf(got), results[0].SHA256, err)
	}
	if leaks := hub.Leaks(); len(leaks) > 0 {
		t.Errorf("the token was sent to the store: %v", leaks)
	}
}
