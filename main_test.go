package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "rbee"

// allowed says which of our packages each package may import: the whole
// architecture on one page. A package that is missing may import none of ours.
// Roles meet only on the wire: no role imports another.
var allowed = map[string][]string{
	".":     {"roles", "core/lease"},
	"roles": {"core", "core/lease", "roles/cmdline", "roles/keeper", "roles/queen", "roles/hive", "roles/worker"},

	"roles/fleettest": {"core/config"}, // for tests

	"roles/keeper/guide": {"roles/cmdline"},

	"roles/cmdline": {"core", "core/alias", "core/api", "core/config", "core/lease", "core/logs", "core/secure", "core/serve"}, // what all four command lines share
	"roles/keeper":  {"core", "core/alias", "core/api", "core/beacon", "core/client", "core/config", "core/lease", "core/logs", "core/machine", "core/remote", "core/secure", "core/serve", "roles/cmdline", "roles/keeper/guide"},
	"roles/queen":   {"core", "core/api", "core/beacon", "core/client", "core/config", "core/dialect/openai", "core/lease", "core/logs", "core/machine", "core/pull", "core/remote", "core/secure", "core/serve", "inference/gguf", "registry", "registry/place", "roles/cmdline"},
	"roles/hive":    {"core", "core/api", "core/beacon", "core/client", "core/config", "core/lease", "core/logs", "core/machine", "core/pull", "core/secure", "core/serve", "catalog", "catalog/fetch", "catalog/stores", "inference/gguf", "roles/cmdline"},
	"roles/worker":  {"core", "core/api", "core/client", "core/config", "core/dialect/openai", "core/lease", "core/logs", "core/machine", "core/secure", "core/serve", "inference", "roles/cmdline"},

	"core/alias":           {"core", "core/config"},
	"core/api":             {"core"},
	"core/beacon":          {"core/api", "core/lease"},
	"core/client":          {"core", "core/api"},
	"core/config":          {"core"},
	"core/dialect/openai":  {"core", "core/api"},
	"core/lease":           {"core"},
	"core/logs":            {"core"},
	"core/machine":         {"core"},
	"core/pull":            {"core", "core/api", "core/secure"},
	"core/remote":          {"core", "core/lease"},
	"core/remote/sshdtest": {"core/remote"}, // for tests
	"core/secure":          {"core"},
	"core/serve":           {"core", "core/api", "core/secure"},

	"catalog":        {"catalog/fetch", "core", "inference/gguf"},
	"catalog/stores": {"catalog", "core", "inference/gguf", "inference/model"},
	"catalog/fetch":  {"core", "core/api", "inference/gguf", "inference/model"},
	"registry":       {"core"},
	"registry/place": {"core", "registry"},

	// The engine knows nothing of rbee and could be lifted out as a library.
	"inference":                   {"inference/reference", "inference/chat", "inference/device", "inference/device/cpu", "inference/embedded", "inference/gguf", "inference/kernel", "inference/model", "inference/quant", "inference/sample", "inference/tokenizer"},
	"inference/device":            {"inference/quant"},
	"inference/device/cpu":        {"inference/device", "inference/kernel", "inference/quant"},
	"inference/device/devicetest": {"inference/device", "inference/quant"},
	"inference/kernel":            {"inference/quant"},
	"inference/model":             {"inference/device", "inference/gguf", "inference/quant"},
	"inference/reference":         {"inference/gguf", "inference/quant"}, // by other means than all the rest
	"inference/tokenizer":         {"inference/gguf"},
}

// doors says which package alone may import a heavy dependency.
var doors = map[string]string{
	"github.com/mattn/go-sqlite3":  "catalog",
	"golang.org/x/crypto/ssh":      "core/remote",
	"github.com/skeema/knownhosts": "core/remote",
	"gorgonia.org/cu":              "inference/device/cuda",
	"gorgonia.org/gorgonia":        "inference/reference",
	"gorgonia.org/tensor":          "inference/reference",
}

// TestImports reads the files itself rather than asking "go list": it then sees
// the files of every build tag, and the test cache knows what it depends on.
func TestImports(t *testing.T) {
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := path.Base(name); d.IsDir() && name != "." && (base[0] == '_' || base[0] == '.' || base == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := path.Dir(name)
		for _, spec := range f.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			for dep, door := range doors {
				if (imp == dep || strings.HasPrefix(imp, dep+"/")) && door != from {
					t.Errorf("%s imports %s; only %s may", name, imp, door)
				}
			}
			to, ours := strings.CutPrefix(imp, module+"/")
			if ours && !slices.Contains(allowed[from], to) {
				t.Errorf("%s: %s must not import %s", name, from, to)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
