package fetch

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// HubFromEnv returns what an environment says of the hub, as huggingface_hub reads
// it: HF_ENDPOINT, and the token of HF_TOKEN, else of the file HF_TOKEN_PATH, else of
// the file that "hf auth login" writes. There need not be any.
func HubFromEnv(env func(string) string) (HubOptions, error) {
	o := HubOptions{Endpoint: env("HF_ENDPOINT"), Token: clean(cmp.Or(env("HF_TOKEN"), env("HUGGING_FACE_HUB_TOKEN")))}
	if o.Token != "" {
		return o, nil
	}
	name := cmp.Or(env("HF_TOKEN_PATH"), filepath.Join(HubHome(env), "token"))
	b, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		return o, fmt.Errorf("fetch: token of the hub: %w", err)
	}
	o.Token = clean(string(b))
	return o, nil
}

// HubHome is the directory of huggingface_hub's files, by HF_HOME, XDG_CACHE_HOME
// and HOME of an environment.
func HubHome(env func(string) string) string {
	cache := cmp.Or(env("XDG_CACHE_HOME"), filepath.Join(env("HOME"), ".cache"))
	return cmp.Or(env("HF_HOME"), filepath.Join(cache, "huggingface"))
}

// clean takes off what is no part of a token.
func clean(token string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(token))
}
