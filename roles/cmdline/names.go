package cmdline

import (
	"path/filepath"
	"slices"
	"strings"
)

// ByName says which role each name of the executable plays.
var ByName = map[string]string{
	"rbee-keeper":     "keeper",
	"queen-rbee":      "queen",
	"rbee-queen":      "queen",
	"rbee-hive":       "hive",
	"llm-worker-rbee": "worker",
	"rbee-worker":     "worker",
}

// SpellOut turns the busybox form into the subcommand form, so that there is
// one dispatcher: "rbee-hive daemon" becomes "rbee hive daemon". Under any other
// name, such as "rbee-linux-amd64", the role is the first argument.
func SpellOut(argv []string) []string {
	name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	args := slices.Clone(argv[1:])
	if len(args) > 0 && (args[0] == "--version" || args[0] == "-v") {
		args[0] = "version"
		return append([]string{"rbee"}, args...)
	}
	if role, ok := ByName[name]; ok {
		return append([]string{"rbee", role}, args...)
	}
	return append([]string{"rbee"}, args...)
}
