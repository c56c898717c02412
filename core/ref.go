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
// "embedded" (also for ""), "file:" with a clean absolute path, or "hf:" with a
// repository as HubRef writes it. It takes "org/repo" without "hf:" and the
// addresses of Hugging Face's pages, too. A short name is no reference: package
// alias knows what it stands for.
func ParseModelRef(text string) (ModelRef, error) {
	switch {
	case text == "" || text == string(Embedded):
		return Embedded, nil
	case strings.HasPrefix(text, "file:") || filepath.IsAbs(text):
		return parseFile(text)
	case strings.Contains(text, "://") && !strings.HasPrefix(text, "hf:"):
		return parseAddress(text)
	}
	if err := checkRef(text); err != nil {
		return "", err
	}
	for _, start := range []string{"hf://", "hf:", "hf.co/", "huggingface.co/"} {
		if rest, ok := strings.CutPrefix(text, start); ok {
			return parseHub(text, rest)
		}
	}
	switch {
	case IsAlias(text):
		return "", &Fault{Kind: ModelNotFound, What: fmt.Sprintf("model %s is a short name that nothing is known of", text), Try: "give org/repo, or the path of a .gguf file"}
	case looksLikePath(text):
		return "", &Fault{Kind: ModelNotFound, What: fmt.Sprintf("model file %s is not there", text), Try: "check the path, or write org/repo:FILE.gguf for a file of a repository"}
	}
	return parseHub(text, text)
}

// IsAlias tells whether a text has the form of a short name, such as "gemma3:270m":
// letters, digits, dots, dashes, underscores, and at most one colon among them.
func IsAlias(text string) bool {
	return len(text) <= maxRef && text != string(Embedded) && !strings.HasPrefix(text, "hf:") && aliasPattern.MatchString(text) &&
		!strings.Contains(text, "..") && !isGGUF(text)
}

var aliasPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(:[A-Za-z0-9][A-Za-z0-9._-]*)?$`)

// parseFile reads an absolute path, with or without "file:".
func parseFile(text string) (ModelRef, error) {
	path := strings.TrimPrefix(text, "file:")
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return "", &Fault{Kind: Invalid, What: fmt.Sprintf("model %.200q: want an absolute path behind file:", text)}
	}
	return ModelRef("file:" + filepath.Clean(path)), nil
}

// checkRef refuses what no reference but a path may hold.
func checkRef(text string) error {
	if len(text) <= maxRef && refPattern.MatchString(text) && !strings.Contains(text, "..") {
		return nil
	}
	return &Fault{Kind: Invalid, What: fmt.Sprintf("model %.80q is no reference to a model", text), Try: "give org/repo, a short name, or the path of a .gguf file"}
}

// looksLikePath tells whether a text without "hf:" is meant as a path: it ends in
// .gguf and is no file behind a repository, or starts with a dot.
func looksLikePath(text string) bool {
	return strings.HasPrefix(text, ".") || isGGUF(text) && !strings.Contains(text, ":")
}

func isGGUF(name string) bool { return strings.HasSuffix(strings.ToLower(name), ".gguf") }

// In tells whether a "file:" reference lies below one of the directories, whose
// paths are absolute and clean.
func (ref ModelRef) In(dirs []string) bool {
	path, ok := ref.Path()
	return ok && slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") })
}

// Path returns the path of a "file:" reference.
func (ref ModelRef) Path() (string, bool) { return strings.CutPrefix(string(ref), "file:") }
