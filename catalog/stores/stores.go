// Package stores finds the models that other programs have on this machine, so that
// they can be used where they are: those in the cache of Hugging Face's programs, of
// Ollama and of LM Studio. It only reads.
package stores

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rbee/catalog"
	"rbee/core"
	"rbee/inference/gguf"
	"rbee/inference/model"
)

// Found is a model of another program.
type Found struct {
	Source   catalog.Source
	Name     string         // as that program calls it
	Ref      core.ModelRef  // "hf:org/repo…" where its origin is certain, else "file:PATH"
	Revision string         // commit of the repository, of one in the cache of Hugging Face
	Files    []catalog.File // the parts in their order; Promised is what the program says of them

	Architecture string // empty when the file cannot be read
	Quantization string
	Err          error // why it cannot be used; nil: it can
}

// Size is that of all files.
func (f Found) Size() (bytes int64) {
	for _, file := range f.Files {
		bytes += file.Size
	}
	return bytes
}

// Addition is what the catalog is told of a model that is to be used in place.
func (f Found) Addition() catalog.Addition {
	return catalog.Addition{Ref: f.Ref, Revision: f.Revision, Source: f.Source, Files: f.Files}
}

// Find returns the models of all programs, by program and name. env is the
// environment. What it cannot use it returns with the reason. A program that is not
// there has no models.
func Find(env func(string) string) (all []Found) {
	for _, list := range [][]Found{huggingFace(cacheOf(env)), ollama(env), lmStudio(env)} {
		slices.SortStableFunc(list, func(a, b Found) int { return strings.Compare(a.Name, b.Name) })
		all = append(all, list...)
	}
	return all
}

// look fills in what the files say.
func (f *Found) look() {
	for i := range f.Files {
		info, err := os.Stat(f.Files[i].Path)
		if err != nil {
			f.Err = unreadable(f.Files[i].Path, err)
			return
		}
		f.Files[i].Size, f.Files[i].Modified = info.Size(), info.ModTime()
	}
	head, err := gguf.Open(f.Files[0].Path)
	if err != nil {
		f.Err = &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("%s: %v", f.Name, err), Cause: err}
		return
	}
	defer head.Close()
	f.Architecture, f.Quantization = head.Architecture(), head.Quantization()
	if !slices.Contains(model.Architectures(), f.Architecture) {
		f.Err = &core.Fault{
			Kind: core.Unsupported, What: fmt.Sprintf("%s: architecture %q is not supported, only: %s", f.Name, f.Architecture, model.Supported()),
			Try: "choose a model of one of these",
		}
	}
}

func unreadable(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("%s is not there: it was not fetched to the end, or was removed", path), Cause: err}
	case errors.Is(err, fs.ErrPermission):
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("%s may not be read", path), Try: "let this user read it", Cause: err}
	}
	return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("%s: %v", path, err), Cause: err}
}

// parted returns the paths of the parts of a model, or nil for a part that another
// one of the paths stands for.
func parted(path string, exists func(string) bool) []string {
	parts := gguf.Parts(path)
	if path != parts[0] && exists(parts[0]) {
		return nil
	}
	return parts
}

// here tells whether something has the name, a link to nothing too.
func here(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// fileRef is the reference of a file by its path.
func fileRef(path string) core.ModelRef {
	ref, err := core.ParseModelRef("file:" + path)
	if err != nil {
		return ""
	}
	return ref
}

func home(env func(string) string, name ...string) string {
	if dir := env("HOME"); filepath.IsAbs(dir) {
		return filepath.Join(append([]string{dir}, name...)...)
	}
	return ""
}
