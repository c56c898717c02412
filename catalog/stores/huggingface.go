package stores

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rbee/catalog"
	"rbee/core"
)

// cacheOf is the cache of Hugging Face's programs, where huggingface_hub looks for it.
func cacheOf(env func(string) string) string {
	for _, name := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if dir := expand(env, env(name)); dir != "" {
			return dir
		}
	}
	if dir := expand(env, env("HF_HOME")); dir != "" {
		return filepath.Join(dir, "hub")
	}
	if dir := expand(env, env("XDG_CACHE_HOME")); dir != "" {
		return filepath.Join(dir, "huggingface", "hub")
	}
	return home(env, ".cache", "huggingface", "hub")
}

// expand replaces what stands for a directory in a setting. What is no absolute path
// then means another directory for each program, and is none.
func expand(env func(string) string, dir string) string {
	dir = os.Expand(dir, env)
	if rest, ok := strings.CutPrefix(dir, "~"); ok && (rest == "" || rest[0] == '/') {
		dir = home(env) + rest
	}
	if !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Clean(dir)
}

// A repo is one repository in the cache.
type repo struct {
	dir  string
	name string            // org/repo
	refs map[string]string // commit by branch or tag
}

// huggingFace returns the models of a cache: models--ORG--REPO/snapshots/COMMIT/FILE,
// each a link to blobs/ETAG. The etag of a large file is its SHA-256.
func huggingFace(cache string) (all []Found) {
	if cache == "" {
		return nil
	}
	dirs, _ := os.ReadDir(cache)
	for _, d := range dirs {
		name, ok := strings.CutPrefix(d.Name(), "models--")
		if org, base, two := strings.Cut(name, "--"); ok && two && org != "" && base != "" {
			all = append(all, readRepo(filepath.Join(cache, d.Name()), org+"/"+base).models()...)
		}
	}
	return all
}

func readRepo(dir, name string) repo {
	r := repo{dir: dir, name: name, refs: map[string]string{}}
	root := filepath.Join(dir, "refs")
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be read is no ref
		}
		b, err := readSmall(path)
		if commit := strings.TrimSpace(string(b)); err == nil && commit != "" && commit == filepath.Base(commit) {
			r.refs[strings.TrimPrefix(path, root+"/")] = commit
		}
		return nil
	})
	return r
}

const mostSmall = 1 << 20

var errLarge = errors.New("it is too large for what it should be")

// readSmall reads a file that describes others.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > mostSmall {
		return nil, errLarge
	}
	return os.ReadFile(path)
}

// revision is how a reference names a commit: not at all when it is that of the main
// branch, else by branch or tag, else by itself.
func (r repo) revision(commit string) string {
	var names []string
	for name, at := range r.refs {
		if at == commit {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if slices.Contains(names, "main") {
		return ""
	}
	return append(names, commit)[0]
}

// commits are those of the snapshots, that of the main branch first.
func (r repo) commits() (all []string) {
	dirs, _ := os.ReadDir(filepath.Join(r.dir, "snapshots"))
	for _, d := range dirs {
		all = append(all, d.Name())
	}
	slices.SortStableFunc(all, func(a, b string) int { return strings.Compare(r.revision(a), r.revision(b)) })
	return all
}

// models returns the models of a repository. One that is the same in several commits
// is returned once.
func (r repo) models() (all []Found) {
	seen := map[string]bool{}
	for _, commit := range r.commits() {
		for _, f := range r.snapshot(commit) {
			key := f.Name
			if f.Files[0].Promised == "" {
				key += " " + commit // nothing says that it is the same
			}
			for _, file := range f.Files {
				key = strings.Join([]string{key, file.Promised}, " ")
			}
			if seen[key] {
				continue
			}
			seen[key] = true
			f.look()
			all = append(all, f)
		}
	}
	return all
}

// snapshot returns the models of one commit, by their names alone.
func (r repo) snapshot(commit string) (all []Found) {
	root := filepath.Join(r.dir, "snapshots", commit)
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isGGUF(path) {
			return nil //nolint:nilerr // what cannot be read is not listed
		}
		parts := parted(path, here)
		if parts == nil {
			return nil
		}
		file := strings.TrimPrefix(path, root+"/")
		f := Found{Source: catalog.HuggingFace, Name: r.name + "/" + file, Revision: commit}
		h := core.Hub{Repo: r.name, Revision: r.revision(commit), Tag: file}
		if f.Ref = h.Ref(); !isHub(f.Ref) {
			f.Ref = fileRef(path)
		}
		for _, part := range parts {
			f.Files = append(f.Files, catalog.File{Name: filepath.Base(part), Path: part, Promised: r.etag(part)})
		}
		all = append(all, f)
		return nil
	})
	return all
}

func isHub(ref core.ModelRef) bool {
	_, ok := ref.Hub()
	return ok
}

func isGGUF(path string) bool { return strings.EqualFold(filepath.Ext(path), ".gguf") }

// etag is the SHA-256 that the hub said of a file, or "": small files have another
// etag, and where there are no links there is none. Only the first link counts: a
// blob may itself be a link into a store that several repositories share, whose names
// are hashes of another kind.
func (r repo) etag(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	name := filepath.Base(target)
	if filepath.Dir(target) != filepath.Join(r.dir, "blobs") || catalog.CheckHash(name) != nil {
		return ""
	}
	return name
}

// HuggingFace returns the models of a repository that the cache of Hugging Face's
// programs has, of all its revisions.
func HuggingFace(env func(string) string, name string) []Found {
	cache := cacheOf(env)
	if cache == "" {
		return nil
	}
	return readRepo(filepath.Join(cache, "models--"+strings.ReplaceAll(name, "/", "--")), name).models()
}

// Has tells whether the model is made of files with these hashes, in this order.
func (f Found) Has(hashes ...string) bool {
	return slices.EqualFunc(f.Files, hashes, func(file catalog.File, hash string) bool { return hash != "" && file.Promised == hash })
}

// Answers tells whether the model is what a reference asks for, as far as the cache
// knows: for when the hub cannot be asked. Without a tag any quantization of order is.
func (f Found) Answers(h core.Hub, order []string) bool {
	has, ok := f.Ref.Hub()
	switch {
	case !ok || f.Err != nil || !strings.EqualFold(has.Repo, h.Repo):
		return false
	case has.Revision != h.Revision && f.Revision != h.Revision:
		return false
	case h.File():
		return has.Tag == h.Tag
	case h.Tag == "":
		return slices.Contains(order, f.Quantization)
	}
	return f.Quantization == h.Tag
}
