package roles

import (
	"slices"
	"testing"

	keeperguide "rbee/roles/keeper/guide"
)

// pending are the commands of the help that are not built yet. The list can only
// shrink: what is built leaves it, and a slip in topics.txt does not get in.
var pending = []string{
	"rbee doctor",
	"rbee run",
	"rbee run --node node model",
	"rbee run model",
	"rbee worker grammar --schema-file file --match < text",
}

// Every command in the guide's help exists, with its flags, or is known to be missing.
func TestGuideCommands(t *testing.T) {
	tree := commands()
	for _, c := range tree {
		prepare(c)
	}
	missing := keeperguide.New(keeperguide.Built(tree)).Missing()
	for _, c := range missing {
		if !slices.Contains(pending, c) {
			t.Errorf("the help names %q, which this program does not have", c)
		}
	}
	for _, c := range pending {
		if !slices.Contains(missing, c) {
			t.Errorf("%q is built, or not in the help: take it off the list", c)
		}
	}
}
