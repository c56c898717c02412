package core

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const maxRef = 512

var refPattern = regexp.MustCompile(`^[A-Za-z0-9._/:@=-]+$`)

// ParseModelRef checks a reference to a model and returns it in its full form:
// "embedded" (also for ""), or "file:" with a clean absolute path. References
// to Hugging Face and short names are unsupported for now.
func ParseModelRef(text string) (ModelRef, error) {
	path, isFile := strings.CutPrefix(text, "file:")
	switch {
	case text == "" || text == string(Embedded):
		return Embedded, nil
	case isFile || filepath.IsAbs(text):
		if !isFile {
			path = text
		}
		if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
			return "", &Fault{Kind: Invalid, What: fmt.Sprintf("model %q: want an absolute path behind file:", text)}
		}
		return ModelRef("file:" + filepath.Clean(path)), nil
	case len(text) > maxRef || !refPattern.MatchString(text) || strings.Contains(text, ".."):
		return "", &Fault{Kind: Invalid, What: fmt.Sprintf("model %.80q is no reference to a model", text), Try: "give the path of a .gguf file, or embedded"}
	case strings.HasSuffix(text, ".gguf") && !strings.HasPrefix(text, "hf:"):
		return "", &Fault{Kind: ModelNotFound, What: fmt.Sprintf("model file %s is not there", text), Try: "check the path"}
	}
	return "", &Fault{
		Kind: Unsupported, What: fmt.Sprintf("model %s: downloading models by name is not built yet", text),
		Try: "give the path of a .gguf file, or leave --model out for the embedded model",
	}
}

// In tells whether a "file:" reference lies below one of the directories, whose
// paths are absolute and clean.
func (ref ModelRef) In(dirs []string) bool {
	path, ok := ref.Path()
	return ok && slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") })
}

// Path returns the path of a "file:" reference.
func (ref ModelRef) Path() (string, bool) { return strings.CutPrefix(string(ref), "file:") }
