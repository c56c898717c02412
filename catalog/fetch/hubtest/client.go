package hubtest

import (
	"os"
	"testing"
)

// Client returns the PYTHONPATH under which python3 has the real client of Hugging
// Face, which .ci/hf installs. Without it the test is skipped, or fails where all
// tests are wanted.
func Client(t testing.TB) string {
	t.Helper()
	packages := os.Getenv("RBEE_HF")
	if packages == "" {
		const missing = "no huggingface_hub here: RBEE_HF=$(.ci/hf)"
		if os.Getenv("RBEE_TEST_ALL") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return "PYTHONPATH=" + packages
}
