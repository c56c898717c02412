package secure

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"rbee/core"
)

func TestReadToken(t *testing.T) {
	tests := map[string]struct {
		content string
		mode    os.FileMode
		want    string // "" is a refusal
	}{
		"good":           {"secret\n", 0o600, "secret"},
		"group can read": {"secret\n", 0o640, ""},
		"empty":          {"\n", 0o600, ""},
		"two lines":      {"a\nb\n", 0o600, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte(tt.content), tt.mode); err != nil {
				t.Fatal(err)
			}
			got, err := ReadToken(file)
			if got != tt.want || (tt.want == "") != errors.Is(err, core.Invalid) {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	if _, err := ReadToken("/nowhere/token"); !errors.Is(err, core.Invalid) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestNewToken(t *testing.T) {
	if a, b := NewToken(), NewToken(); a == b || len(a) != 43 {
		t.Errorf("got %q and %q", a, b)
	}
}

func TestWriteToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rbee", "token")
	if err := WriteToken(file, false); err != nil {
		t.Fatal(err)
	}
	first, err := ReadToken(file)
	if err != nil || len(first) != 43 {
		t.Errorf("got %q, %v", first, err)
	}
	if err := WriteToken(file, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
	if err := WriteToken(file, true); err != nil {
		t.Errorf("to replace it: %v", err)
	}
	if second, err := ReadToken(file); err != nil || second == first {
		t.Errorf("the replaced one: %q, %v; before %q", second, err, first)
	}
}
