package core

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// A Hub is what a reference to a model of a hub is made of. A tag is a
// quantization, such as Q4_K_M, or the path of a .gguf file in the repository.
type Hub struct {
	Repo     string // org/name
	Revision string // branch, tag or commit; empty: the repository's main branch
	Tag      string // empty: to be chosen
}

// Preferred are the quantizations of which one is taken when none is named: the
// first that is there and fits.
var Preferred = []string{"Q4_K_M", "Q5_K_M", "Q4_0", "Q8_0", "F16"}

// Ref writes a reference: hf:org/repo[@revision][:tag].
func (h Hub) Ref() ModelRef {
	text := "hf:" + h.Repo
	if h.Revision != "" {
		text += "@" + h.Revision
	}
	if h.Tag != "" {
		text += ":" + h.Tag
	}
	return ModelRef(text)
}

// File tells whether the tag is a file.
func (h Hub) File() bool { return isGGUF(h.Tag) }

// Hub takes a reference to a model of a hub apart. ok is false for any other, and
// for one that is not in full form.
func (ref ModelRef) Hub() (h Hub, ok bool) {
	rest, ok := strings.CutPrefix(string(ref), "hf:")
	if !ok {
		return Hub{}, false
	}
	h = split(rest)
	return h, h.check() == "" && h.Ref() == ref
}

// parseHub reads what stands behind "hf:"; text is the whole, for errors.
func parseHub(text, rest string) (ModelRef, error) {
	h := split(rest)
	for _, other := range []string{".SAFETENSORS", ".BIN", ".PT", ".PTH", ".ONNX"} {
		if strings.HasSuffix(h.Tag, other) {
			return "", &Fault{Kind: Unsupported, What: fmt.Sprintf("model %s: %s files are not supported, only .gguf", text, strings.ToLower(other)), Try: "look for a repository of the same model whose name ends in -GGUF"}
		}
	}
	if why := h.check(); why != "" {
		return "", &Fault{Kind: Invalid, What: fmt.Sprintf("model %.80s: %s", text, why), Try: "write it as hf:org/repo, hf:org/repo:Q4_K_M or hf:org/repo@revision:FILE.gguf"}
	}
	return h.Ref(), nil
}

var hubPattern = regexp.MustCompile(`^([^@:]*)(?:@([^:]+))?(?::(.+))?$`)

// split takes org/repo@revision:tag apart; what has another form is all
// repository, which check refuses. A quantization gets capital letters.
func split(rest string) Hub {
	m := hubPattern.FindStringSubmatch(rest)
	if m == nil {
		return Hub{Repo: rest}
	}
	h := Hub{Repo: m[1], Revision: m[2], Tag: m[3]}
	if parts := strings.SplitN(h.Repo, "/", 3); len(parts) == 3 && isGGUF(parts[2]) && m[2] == "" && m[3] == "" {
		h.Repo, h.Tag = parts[0]+"/"+parts[1], parts[2]
	}
	switch {
	case isGGUF(h.Tag):
	case strings.EqualFold(h.Tag, "latest"): // Ollama's word for none
		h.Tag = ""
	default:
		h.Tag = strings.ToUpper(h.Tag)
	}
	return h
}

var (
	repoPattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	revisionPattern = regexp.MustCompile(`^[A-Za-z0-9_=-][A-Za-z0-9._=-]*(/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*$`)
	quantPattern    = regexp.MustCompile(`^[A-Z0-9][A-Z0-9._-]*$`)
	filePattern     = regexp.MustCompile(`^[A-Za-z0-9_@=-][A-Za-z0-9._@=-]*(/[A-Za-z0-9_@=-][A-Za-z0-9._@=-]*)*$`)
)

// check returns what is wrong; "" is nothing. A reference that it takes keeps to checkRef.
func (h Hub) check() string {
	text := string(h.Ref())
	switch {
	case len(text) > maxRef || strings.Contains(text, ".."):
		return fmt.Sprintf("want at most %d characters, without ..", maxRef)
	case !repoPattern.MatchString(h.Repo):
		return fmt.Sprintf("%q is no repository, want org/repo", h.Repo)
	case h.Revision != "" && !revisionPattern.MatchString(h.Revision):
		return fmt.Sprintf("%q is no revision", h.Revision)
	case h.File() && !filePattern.MatchString(h.Tag):
		return fmt.Sprintf("%q is no file of a repository", h.Tag)
	case h.Tag != "" && !h.File() && !quantPattern.MatchString(h.Tag):
		return fmt.Sprintf("%q is no quantization and no .gguf file", h.Tag)
	}
	return ""
}

// parseAddress reads the address of a page or a file of Hugging Face.
func parseAddress(text string) (ModelRef, error) {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxRef {
		return "", &Fault{Kind: Invalid, What: fmt.Sprintf("model %.80q is no reference to a model", text), Try: "give org/repo, or the path of a .gguf file", Cause: err}
	}
	host := strings.ToLower(u.Host)
	switch {
	case strings.HasSuffix(host, "ollama.ai") || strings.HasSuffix(host, "ollama.com"):
		return "", &Fault{Kind: Unsupported, What: fmt.Sprintf("model %s: models of Ollama's registry cannot be fetched", text), Try: "give the short name alone, such as gemma3:270m, or org/repo"}
	case u.Scheme != "https" || !slices.Contains([]string{"hf.co", "huggingface.co", "www.huggingface.co"}, host):
		return "", &Fault{Kind: Unsupported, What: fmt.Sprintf("model %.80s: only addresses of https://huggingface.co are understood", text), Try: "fetch the file yourself, and give its path"}
	}
	rest := address(strings.Trim(u.Path, "/"))
	if err := checkRef(rest); err != nil {
		return "", err
	}
	return parseHub(text, rest)
}

// address makes org/repo@revision:file of the path of a page: org/repo,
// org/repo/tree/revision, org/repo/blob/revision/file, org/repo/resolve/revision/file.
func address(path string) string {
	parts := strings.Split(path, "/")
	if len(parts) < 4 || !slices.Contains([]string{"tree", "blob", "resolve"}, parts[2]) {
		return path
	}
	out := parts[0] + "/" + parts[1]
	if parts[3] != "main" {
		out += "@" + parts[3]
	}
	if file := strings.Join(parts[4:], "/"); file != "" && parts[2] != "tree" {
		out += ":" + file
	}
	return out
}
