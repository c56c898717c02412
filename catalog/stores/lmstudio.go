package stores

import (
	"encoding/json"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"rbee/catalog"
)

// lmStudioDirs are where LM Studio keeps models: below the directory that its pointer
// names, or its usual ones, and where its settings say.
func lmStudioDirs(env func(string) string) (dirs []string) {
	homes := []string{home(env, ".lmstudio"), home(env, ".cache", "lm-studio")}
	if b, err := readSmall(home(env, ".lmstudio-home-pointer")); err == nil {
		homes = append([]string{strings.TrimSpace(string(b))}, homes...)
	}
	for _, dir := range homes {
		if !filepath.IsAbs(dir) {
			continue
		}
		dirs = append(dirs, downloads(dir), filepath.Join(dir, "models"))
	}
	slices.Sort(dirs)
	return slices.DeleteFunc(slices.Compact(dirs), func(dir string) bool { return dir == "" })
}

// downloads is the directory that a user has chosen in LM Studio, or "".
func downloads(dir string) string {
	b, err := readSmall(filepath.Join(dir, "settings.json"))
	if err != nil {
		return ""
	}
	var settings struct {
		Downloads string `json:"downloadsFolder"`
	}
	if json.Unmarshal(b, &settings) != nil || !filepath.IsAbs(settings.Downloads) {
		return ""
	}
	return filepath.Clean(settings.Downloads)
}

// lmStudio returns the models of LM Studio: PUBLISHER/MODEL/FILE.gguf. People put
// files there by hand, so the path is no proof of where they come from.
func lmStudio(env func(string) string) (all []Found) {
	seen := map[string]bool{}
	for _, root := range lmStudioDirs(env) {
		resolved, err := filepath.EvalSymlinks(root)
		if err != nil || seen[resolved] {
			continue
		}
		seen[resolved] = true
		_ = filepath.WalkDir(resolved, func(path string, d fs.DirEntry, err error) error {
			name := strings.TrimPrefix(path, resolved+"/")
			if err != nil || d.IsDir() || !isGGUF(path) || strings.Count(name, "/") < 2 {
				return nil //nolint:nilerr // what cannot be read is not listed
			}
			parts := parted(path, here)
			if parts == nil {
				return nil
			}
			f := Found{Source: catalog.LMStudio, Name: name, Ref: fileRef(path)}
			for _, part := range parts {
				f.Files = append(f.Files, catalog.File{Name: filepath.Base(part), Path: part})
			}
			f.look()
			all = append(all, f)
			return nil
		})
	}
	return all
}
