package stores

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rbee/catalog"
	"rbee/catalog/modeltest"
	"rbee/core"
)

// environment is what a process sees: a home, and more in pairs.
func environment(home string, pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		if name == "HOME" {
			return home
		}
		return ""
	}
}

const (
	commitA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	commitB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// cached puts a file into a cache of Hugging Face as huggingface_hub does.
func cached(t *testing.T, repo, commit, name string, content []byte) {
	t.Helper()
	blob := filepath.Join(repo, "blobs", modeltest.Hash(content))
	modeltest.Write(t, blob, content)
	path := filepath.Join(repo, "snapshots", commit, name)
	link(t, blob, path)
}

// link makes path a link to target, relative as other programs make it.
func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(filepath.Dir(path), target)
	if err == nil {
		err = os.Symlink(rel, path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// summary is a model in one line.
func summary(f Found) string {
	line := fmt.Sprintf("%s | %s | %s | %s %s | %d files, %d bytes", f.Source, f.Name, f.Ref, f.Architecture, f.Quantization, len(f.Files), f.Size())
	if f.Err != nil {
		line += " | " + string(core.KindOf(f.Err))
	}
	return line
}

func check(t *testing.T, found []Found, want ...string) {
	t.Helper()
	var got []string
	for _, f := range found {
		got = append(got, summary(f))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestHuggingFace(t *testing.T) {
	home := t.TempDir()
	hub := filepath.Join(home, ".cache", "huggingface", "hub")
	repo := filepath.Join(hub, "models--org--repo")
	one, two, parts := modeltest.GGUF("llama", 1, 64), modeltest.GGUF("llama", 2, 64), modeltest.Parts("qwen3", 3, 64, 2)
	cached(t, repo, commitA, "m.Q8_0.gguf", one)
	cached(t, repo, commitB, "m.Q8_0.gguf", one)     // the same in another commit
	cached(t, repo, commitB, "sub/m.Q8_0.gguf", two) // another one, in a directory
	for i, content := range parts {
		cached(t, repo, commitA, "big/"+modeltest.PartName("m", i, 2), content)
	}
	cached(t, repo, commitA, "README.md", []byte("text"))
	cached(t, repo, commitA, "mmproj.gguf", modeltest.GGUF("clip", 4, 64))
	cached(t, repo, commitA, "cut.gguf", one[:40])
	cached(t, repo, commitA, modeltest.PartName("half", 1, 2), parts[1])
	cached(t, repo, commitA, "with space.gguf", two)
	link(t, filepath.Join(repo, "blobs", modeltest.Hash(nil)), filepath.Join(repo, "snapshots", commitA, "gone.gguf"))
	modeltest.Write(t, filepath.Join(repo, "snapshots", commitA, "copied.gguf"), one) // where links do not work
	modeltest.Write(t, filepath.Join(repo, "refs", "main"), []byte(commitA))
	modeltest.Write(t, filepath.Join(repo, "refs", "pr", "7"), []byte(commitB+"\n"))
	modeltest.Write(t, filepath.Join(repo, "refs", "evil"), []byte("../../../../etc"))
	modeltest.Write(t, filepath.Join(repo, "blobs", "0123.incomplete"), one[:9])
	modeltest.Write(t, filepath.Join(hub, "datasets--org--set", "snapshots", commitA, "d.gguf"), one)
	modeltest.Write(t, filepath.Join(hub, "models--old", "snapshots", commitA, "m.gguf"), one)
	size, part := len(one), len(parts[0])
	snapshot := filepath.Join(repo, "snapshots", commitA)
	check(
		t, Find(environment(home)),
		fmt.Sprintf("huggingface | org/repo/big/m-00001-of-00002.gguf | hf:org/repo:big/m-00001-of-00002.gguf | qwen3 Q8_0 | 2 files, %d bytes", 2*part),
		fmt.Sprintf("huggingface | org/repo/copied.gguf | hf:org/repo:copied.gguf | llama Q8_0 | 1 files, %d bytes", size),
		"huggingface | org/repo/cut.gguf | hf:org/repo:cut.gguf |   | 1 files, 40 bytes | INVALID_REQUEST",
		"huggingface | org/repo/gone.gguf | hf:org/repo:gone.gguf |   | 1 files, 0 bytes | MODEL_NOT_FOUND",
		"huggingface | org/repo/half-00002-of-00002.gguf | hf:org/repo:half-00002-of-00002.gguf |   | 2 files, 0 bytes | MODEL_NOT_FOUND",
		fmt.Sprintf("huggingface | org/repo/m.Q8_0.gguf | hf:org/repo:m.Q8_0.gguf | llama Q8_0 | 1 files, %d bytes", size),
		fmt.Sprintf("huggingface | org/repo/mmproj.gguf | hf:org/repo:mmproj.gguf | clip Q8_0 | 1 files, %d bytes | UNSUPPORTED", size),
		fmt.Sprintf("huggingface | org/repo/sub/m.Q8_0.gguf | hf:org/repo@pr/7:sub/m.Q8_0.gguf | llama Q8_0 | 1 files, %d bytes", size),
		fmt.Sprintf("huggingface | org/repo/with space.gguf | file:%s/with space.gguf | llama Q8_0 | 1 files, %d bytes", snapshot, size),
	)
	f := HuggingFace(environment(home), "org/repo")[0]
	if f.Revision != commitA || f.Files[1].Promised != modeltest.Hash(parts[1]) || !f.Has(modeltest.Hash(parts[0]), modeltest.Hash(parts[1])) || f.Has(modeltest.Hash(parts[0])) {
		t.Errorf("a model in parts: %+v", f)
	}
	for _, f := range HuggingFace(environment(home), "org/repo") {
		if strings.HasSuffix(f.Name, "copied.gguf") && (f.Files[0].Promised != "" || f.Has("")) {
			t.Errorf("a file that is no link has a promise: %+v", f)
		}
	}
	if all := HuggingFace(environment(home), "org/none"); len(all) != 0 {
		t.Errorf("a repository that is not there: %+v", all)
	}
}

func TestAnswers(t *testing.T) {
	home := t.TempDir()
	repo := filepath.Join(home, ".cache", "huggingface", "hub", "models--org--repo")
	cached(t, repo, commitA, "m.gguf", modeltest.GGUF("llama", 1, 64))
	modeltest.Write(t, filepath.Join(repo, "refs", "main"), []byte(commitA))
	f := HuggingFace(environment(home), "org/repo")[0]
	for ref, want := range map[core.ModelRef]bool{
		"hf:org/repo": true, "hf:org/repo:Q8_0": true, "hf:org/repo:Q4_K_M": false, "hf:org/repo:m.gguf": true, "hf:org/repo:n.gguf": false,
		"hf:org/repo@" + commitA: true, "hf:org/repo@" + commitB: false, "hf:org/other": false, "hf:Org/Repo": true,
	} {
		h, ok := ref.Hub()
		if got := f.Answers(h, []string{"Q4_K_M", "Q8_0"}); !ok || got != want {
			t.Errorf("%s: got %v, want %v", ref, got, want)
		}
	}
}

// A blob that is itself a link into the store of all repositories: its name there is a
// hash of another kind.
func TestSharedBlobs(t *testing.T) {
	home := t.TempDir()
	hub := filepath.Join(home, ".cache", "huggingface", "hub")
	repo := filepath.Join(hub, "models--org--repo")
	content := modeltest.GGUF("llama", 1, 64)
	store, blob := filepath.Join(hub, "blobs", "aa", strings.Repeat("a", 64)), filepath.Join(repo, "blobs", modeltest.Hash(content))
	modeltest.Write(t, store, content)
	link(t, store, blob)
	link(t, blob, filepath.Join(repo, "snapshots", commitA, "m.gguf"))
	all := Find(environment(home))
	if len(all) != 1 || all[0].Err != nil || all[0].Files[0].Promised != modeltest.Hash(content) {
		t.Errorf("found %+v", all)
	}
	link(t, store, filepath.Join(repo, "snapshots", commitA, "straight.gguf"))
	if all = Find(environment(home)); len(all) != 2 || all[1].Err != nil || all[1].Files[0].Promised != "" {
		t.Errorf("the hash of another kind is a promise: %+v", all)
	}
}

func TestCacheOf(t *testing.T) {
	for name, tt := range map[string]struct {
		env  []string
		want string
	}{
		"default":            {nil, "/home/me/.cache/huggingface/hub"},
		"XDG_CACHE_HOME":     {[]string{"XDG_CACHE_HOME", "/x"}, "/x/huggingface/hub"},
		"HF_HOME":            {[]string{"XDG_CACHE_HOME", "/x", "HF_HOME", "~/hf"}, "/home/me/hf/hub"},
		"HF_HUB_CACHE":       {[]string{"HF_HOME", "/h", "HF_HUB_CACHE", "/c/"}, "/c"},
		"the older name":     {[]string{"HF_HOME", "/h", "HUGGINGFACE_HUB_CACHE", "/o"}, "/o"},
		"with a variable":    {[]string{"DATA", "/d", "HF_HOME", "$DATA/hf"}, "/d/hf/hub"},
		"relative is no one": {[]string{"HF_HOME", "hf"}, "/home/me/.cache/huggingface/hub"},
		"no home":            {[]string{"HOME", ""}, ""},
	} {
		if got := cacheOf(environment("/home/me", tt.env...)); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// manifested writes a manifest of Ollama for content.
func manifested(t *testing.T, models, name string, content []byte) {
	t.Helper()
	modeltest.Write(t, filepath.Join(models, "manifests", name), manifestOf(t, models, content))
}

// manifestOf stores content as Ollama does and returns its manifest.
func manifestOf(t *testing.T, models string, content []byte) []byte {
	t.Helper()
	hash := modeltest.Hash(content)
	modeltest.Write(t, filepath.Join(models, "blobs", "sha256-"+hash), content)
	b, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
		"config": map[string]any{"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:" + modeltest.Hash([]byte("config")), "size": 6},
		"layers": []map[string]any{
			{"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + modeltest.Hash([]byte("template")), "size": 8},
			{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + hash, "size": len(content)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOllama(t *testing.T) {
	home := t.TempDir()
	models := filepath.Join(home, "strange [dir]*")
	env := environment(home, "OLLAMA_MODELS", models)
	one, two := modeltest.GGUF("llama", 1, 64), modeltest.GGUF("gemma3", 2, 64)
	manifested(t, models, "registry.ollama.ai/library/llama3.2/1b", one)
	manifested(t, models, "registry.ollama.ai/me/mine/latest", one)
	manifested(t, models, "hf.co/org/repo-GGUF/q8_0", two)
	manifested(t, models, "hf.co/org/repo-GGUF/latest", two)
	manifested(t, models, "example.com/library/other/1b", modeltest.GGUF("mllama", 3, 64))
	in := func(name, content string) {
		modeltest.Write(t, filepath.Join(models, "manifests", "registry.ollama.ai/library", name), []byte(content))
	}
	in("none/latest", `{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:`+modeltest.Hash(nil)+`"}]}`)
	in("text/latest", "no json")
	in("evil/latest", `{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:../../../etc/passwd"}]}`)
	in("cloud/latest", `{"config":{},"layers":[]}`)
	// Newer: a link to a blob that lists a manifest for each engine, one of them by its digest.
	child := manifestOf(t, models, one)
	modeltest.Write(t, filepath.Join(models, "blobs", "sha256-"+modeltest.Hash(child)), child)
	list := []byte(`{"mediaType":"application/vnd.ollama.manifest.list.v2+json","manifests":[{"runner":"mlx","layers":[{"mediaType":"application/vnd.ollama.image.tensor"}]},{"runner":"ollama","digest":"sha256:` + modeltest.Hash(child) + `"}]}`)
	blob := filepath.Join(models, "blobs", "sha256-"+modeltest.Hash(list))
	modeltest.Write(t, blob, list)
	link(t, blob, filepath.Join(models, "manifests-v2", "ollama.com", "library", "both", "8b"))
	manifested(t, models, "registry.ollama.ai/library/both/8b", two) // what is in both counts in the newer
	path := func(content []byte) string {
		return "file:" + filepath.Join(models, "blobs", "sha256-"+modeltest.Hash(content))
	}
	size, size3 := len(one), len(two)
	check(
		t, Find(env),
		fmt.Sprintf("ollama | both:8b | %s | llama Q8_0 | 1 files, %d bytes", path(one), size),
		"ollama | evil:latest |  |   | 0 files, 0 bytes | INVALID_REQUEST",
		fmt.Sprintf("ollama | example.com/library/other:1b | %s | mllama Q8_0 | 1 files, %d bytes | UNSUPPORTED", path(modeltest.GGUF("mllama", 3, 64)), len(modeltest.GGUF("mllama", 3, 64))),
		fmt.Sprintf("ollama | hf.co/org/repo-GGUF:latest | hf:org/repo-GGUF:Q8_0 | gemma3 Q8_0 | 1 files, %d bytes", size3),
		fmt.Sprintf("ollama | hf.co/org/repo-GGUF:q8_0 | hf:org/repo-GGUF:Q8_0 | gemma3 Q8_0 | 1 files, %d bytes", size3),
		fmt.Sprintf("ollama | llama3.2:1b | %s | llama Q8_0 | 1 files, %d bytes", path(one), size),
		fmt.Sprintf("ollama | me/mine:latest | %s | llama Q8_0 | 1 files, %d bytes", path(one), size),
		fmt.Sprintf("ollama | none:latest | %s |   | 1 files, 0 bytes | MODEL_NOT_FOUND", path(nil)),
		"ollama | text:latest |  |   | 0 files, 0 bytes | INVALID_REQUEST",
	)
}

func TestLMStudio(t *testing.T) {
	home := t.TempDir()
	one, parts := modeltest.GGUF("llama", 1, 64), modeltest.Parts("llama", 2, 64, 2)
	for _, base := range []string{".lmstudio/models", ".cache/lm-studio/models", "moved/models", "chosen"} {
		modeltest.Write(t, filepath.Join(home, base, "me", strings.ReplaceAll(base, "/", "-"), "m.gguf"), one)
	}
	lm := filepath.Join(home, ".lmstudio", "models")
	for i, content := range parts {
		modeltest.Write(t, filepath.Join(lm, "me", "split", modeltest.PartName("m", i, 2)), content)
	}
	modeltest.Write(t, filepath.Join(lm, "top.gguf"), one) // which LM Studio does not see either
	modeltest.Write(t, filepath.Join(lm, "me", "mlx", "model.safetensors"), one)
	modeltest.Write(t, filepath.Join(lm, "me", "not", "done.gguf"), one[:50])
	modeltest.Write(t, filepath.Join(home, ".lmstudio-home-pointer"), []byte(filepath.Join(home, "moved")+"\n"))
	modeltest.Write(t, filepath.Join(home, ".lmstudio", "settings.json"), []byte(`{"downloadsFolder":"`+filepath.Join(home, "chosen")+`"}`))
	line := func(base, name string, size int, files int) string {
		return fmt.Sprintf("lmstudio | %s | file:%s | llama Q8_0 | %d files, %d bytes", name, filepath.Join(home, base, name), files, size)
	}
	check(
		t, Find(environment(home)),
		line(".cache/lm-studio/models", "me/.cache-lm-studio-models/m.gguf", len(one), 1),
		line(".lmstudio/models", "me/.lmstudio-models/m.gguf", len(one), 1),
		line("chosen", "me/chosen/m.gguf", len(one), 1),
		line("moved/models", "me/moved-models/m.gguf", len(one), 1),
		fmt.Sprintf("lmstudio | me/not/done.gguf | file:%s/me/not/done.gguf |   | 1 files, 50 bytes | INVALID_REQUEST", lm),
		line(".lmstudio/models", "me/split/m-00001-of-00002.gguf", 2*len(parts[0]), 2),
	)
}

// What is found can be used in place, and is never written to.
func TestInPlace(t *testing.T) {
	home := t.TempDir()
	content := modeltest.GGUF("llama", 1, 64)
	cached(t, filepath.Join(home, ".cache", "huggingface", "hub", "models--org--repo"), commitA, "m.gguf", content)
	manifested(t, filepath.Join(home, ".ollama", "models"), "registry.ollama.ai/library/tiny/latest", content)
	modeltest.Write(t, filepath.Join(home, ".lmstudio", "models", "me", "tiny", "m.gguf"), content)
	own := t.TempDir()
	c, err := catalog.Open(t.Context(), catalog.Options{File: filepath.Join(own, "db", "models.db"), Models: filepath.Join(own, "models"), State: filepath.Join(own, "state"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	found := Find(environment(home))
	if len(found) != 3 {
		t.Fatalf("found %+v", found)
	}
	for _, f := range found {
		m, err := c.AddInPlace(t.Context(), f.Addition())
		if err == nil {
			m, err = c.Hash(t.Context(), m)
		}
		if err != nil || m.Source != f.Source || m.SHA256 != modeltest.Hash(content) {
			t.Errorf("%s: %+v, %v", f.Name, m, err)
		}
		if err := c.Remove(t.Context(), f.Ref); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(f.Files[0].Path); err != nil {
			t.Errorf("%s: the file of another program is gone: %v", f.Name, err)
		}
	}
}

func TestNothingThere(t *testing.T) {
	for name, env := range map[string]func(string) string{"an empty home": environment(t.TempDir()), "no home": environment("")} {
		if all := slices.DeleteFunc(Find(env), func(f Found) bool { return strings.Contains(fmt.Sprint(f.Files), "/usr/share/ollama") }); len(all) != 0 {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

func FuzzManifest(f *testing.F) {
	hash := modeltest.Hash(nil)
	f.Add([]byte(`{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:` + hash + `"}]}`))
	f.Add([]byte(`{"manifests":[{"digest":"sha256:` + hash + `"},{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256-` + hash + `"}]}]}`))
	f.Add([]byte(`{"manifests":[null,1,"",{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := weights(b, func(hash string) ([]byte, error) {
			if catalog.CheckHash(hash) != nil {
				t.Errorf("a blob named %q is asked for", hash)
			}
			return b, nil
		})
		if (err == nil) != (catalog.CheckHash(got) == nil) {
			t.Errorf("got %q, %v", got, err)
		}
		if err != nil && got != "" && !errors.Is(err, errNoWeights) {
			t.Errorf("got %q with %v", got, err)
		}
	})
}
