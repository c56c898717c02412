package stores

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"rbee/catalog"
	"rbee/core"
)

// ollamaDirs are where Ollama keeps models: where it is told to, else of the user, and
// of the service that its installer makes on Linux.
func ollamaDirs(env func(string) string) []string {
	if dir := expand(env, strings.Trim(env("OLLAMA_MODELS"), `"' `)); dir != "" {
		return []string{dir}
	}
	return []string{home(env, ".ollama", "models"), "/usr/share/ollama/.ollama/models"}
}

// ollama returns the models of Ollama: manifests/HOST/NAMESPACE/NAME/TAG say of which
// blobs/sha256-HASH a model is made. Newer versions write manifests-v2, and what is in
// both counts there.
func ollama(env func(string) string) (all []Found) {
	for _, dir := range ollamaDirs(env) {
		seen := map[string]bool{}
		for _, manifests := range []string{"manifests-v2", "manifests"} {
			if dir == "" {
				continue
			}
			paths, _ := filepath.Glob(filepath.Join(escape(dir), manifests, "*", "*", "*", "*"))
			for _, path := range paths {
				f, ok := readOllama(dir, path)
				if ok && !seen[f.Name] {
					seen[f.Name] = true
					all = append(all, f)
				}
			}
		}
	}
	return all
}

// escape makes Glob take a directory as it is.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

// readOllama reads one manifest. ok is false when it is of no model that has weights
// in a file, such as one that runs in a cloud.
func readOllama(dir, path string) (f Found, ok bool) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return Found{}, false
	}
	parts := strings.Split(path, string(filepath.Separator))
	n := ollamaName(parts[len(parts)-4:])
	f = Found{Source: catalog.Ollama, Name: n.String()}
	b, err := readSmall(path)
	if err != nil {
		f.Err = unreadable(path, err)
		return f, true
	}
	hash, err := weights(b, func(digest string) ([]byte, error) { return readSmall(blobPath(dir, digest)) })
	if errors.Is(err, errNoWeights) {
		return Found{}, false
	}
	if err != nil {
		f.Err = &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("%s: its manifest %s: %v", f.Name, path, err), Cause: err}
		return f, true
	}
	blob := blobPath(dir, hash)
	f.Files = []catalog.File{{Name: n.file(), Path: blob, Promised: hash}}
	f.Ref = fileRef(blob)
	f.look()
	if h, ok := n.hub(f.Quantization); ok {
		f.Ref = h
	}
	return f, true
}

func blobPath(dir, hash string) string { return filepath.Join(dir, "blobs", "sha256-"+hash) }

// An ollamaName is host, namespace, name and tag of a model of Ollama.
type ollamaName []string

// String is the name as Ollama shows it: what it fills in by itself is left out.
func (n ollamaName) String() string {
	name := n[2] + ":" + n[3]
	switch {
	case !n.ours():
		return strings.Join(n[:3], "/") + ":" + n[3]
	case n[1] != "library":
		return n[1] + "/" + name
	}
	return name
}

// ours tells whether the model is of Ollama's own registry.
func (n ollamaName) ours() bool { return n[0] == "registry.ollama.ai" || n[0] == "ollama.com" }

// file is a name for the file of weights, which has none there.
func (n ollamaName) file() string { return n[2] + "-" + n[3] + ".gguf" }

// hub is the reference of a model that Ollama has fetched from Hugging Face. Such a
// tag is a quantization, or it is "latest", and then the file says which.
func (n ollamaName) hub(quantization string) (core.ModelRef, bool) {
	if n[0] != "hf.co" && n[0] != "huggingface.co" {
		return "", false
	}
	tag := strings.ToUpper(n[3])
	if tag == "LATEST" {
		tag = quantization
	}
	ref := core.Hub{Repo: n[1] + "/" + n[2], Tag: tag}.Ref()
	return ref, tag != "" && isHub(ref)
}

// A manifest says of which blobs a model of Ollama is made. A list of manifests has
// one for each kind of engine, whole or by its digest.
type manifest struct {
	Layers []struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
	} `json:"layers"`
	Manifests []json.RawMessage `json:"manifests"`
	Digest    string            `json:"digest"`
}

const (
	modelLayer    = "application/vnd.ollama.image.model"
	mostManifests = 64
)

var errNoWeights = errors.New("it names no file of weights")

// weights returns the hash of the GGUF file that a manifest names. blob reads a
// manifest that another one names.
func weights(b []byte, blob func(hash string) ([]byte, error)) (hash string, err error) {
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return "", err
	}
	if len(m.Manifests) > mostManifests {
		return "", fmt.Errorf("it lists %d manifests", len(m.Manifests))
	}
	hash, err = m.weights()
	for _, raw := range m.Manifests {
		if errors.Is(err, errNoWeights) {
			hash, err = listed(raw, blob)
		}
	}
	return hash, err
}

// listed is weights for one manifest of a list, which lists none itself.
func listed(raw []byte, blob func(hash string) ([]byte, error)) (string, error) {
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", err
	}
	if len(m.Layers) > 0 || m.Digest == "" {
		return m.weights()
	}
	hash, err := digest(m.Digest)
	if err != nil {
		return "", err
	}
	if raw, err = blob(hash); err != nil {
		return "", err
	}
	var named manifest
	if err := json.Unmarshal(raw, &named); err != nil {
		return "", err
	}
	return named.weights()
}

// weights is the hash of the layer that is a GGUF file.
func (m manifest) weights() (string, error) {
	for _, layer := range m.Layers {
		if layer.MediaType == modelLayer {
			return digest(layer.Digest)
		}
	}
	return "", errNoWeights
}

// digest reads "sha256:HASH".
func digest(text string) (hash string, err error) {
	hash, ok := strings.CutPrefix(strings.ToLower(strings.Replace(text, "-", ":", 1)), "sha256:")
	if err := catalog.CheckHash(hash); !ok || err != nil {
		return "", fmt.Errorf("%.80q is no digest", text)
	}
	return hash, nil
}
