package fetch_test

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"rbee/catalog/fetch"
)

func TestQuantization(t *testing.T) {
	tests := map[string]string{
		"Llama-3.2-1B-Instruct-Q4_K_M.gguf":                 "Q4_K_M",
		"tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf":              "Q4_K_M",
		"qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf":    "Q4_K_M",
		"Qwen3-0.6B-Q8_0.gguf":                              "Q8_0",
		"gemma-3-1b-it-q4_0.gguf":                           "Q4_0",
		"Phi-3-mini-4k-instruct-fp16.gguf":                  "F16",
		"Phi-3-mini-4k-instruct-q4.gguf":                    "Q4",
		"gpt-oss-20b-mxfp4.gguf":                            "MXFP4",
		"gpt-oss-20b-MXFP4_MOE.gguf":                        "MXFP4_MOE",
		"Qwen3-8B-UD-Q4_K_XL.gguf":                          "UD-Q4_K_XL",
		"UD-IQ1_S/DeepSeek-R1-UD-IQ1_S-00001-of-00003.gguf": "UD-IQ1_S",
		"UD-Q2_K_XL/Model-00001-of-00003.gguf":              "UD-Q2_K_XL",
		"Q8_0/model.gguf":                                   "Q8_0",
		"Cloud-Q4_0.gguf":                                   "Q4_0",
		"Model-BF16.gguf":                                   "BF16",
		"model-f32.gguf":                                    "F32",
		"Model-IQ4_NL.gguf":                                 "IQ4_NL",
		"Model.i1-IQ2_XXS.gguf":                             "IQ2_XXS",
		"Model_Q5_K_S.gguf":                                 "Q5_K_S",
		"Model-Q4_0_4_4.gguf":                               "Q4_0_4_4",
		"Model-f16-Q6_K.gguf":                               "Q6_K",
		"Model-Q4_K_M-imat.gguf":                            "Q4_K_M",
		"Model-TQ1_0.gguf":                                  "TQ1_0",
		"Model-Q3_K_XL.gguf":                                "Q3_K_XL",
		"model.gguf":                                        "",
		"ggml-model.gguf":                                   "",
		"Q4BERT.gguf":                                       "",
		"SmolLM2-135M.gguf":                                 "",
	}
	for file, want := range tests {
		if got := fetch.Quantization(file); got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

func TestNextPage(t *testing.T) {
	first, err := url.Parse("https://hub.example/hf/api/models/o/r/tree/main?recursive=true")
	if err != nil {
		t.Fatal(err)
	}
	const own = "https://hub.example/hf/api/models/o/r/tree/main?"
	tests := map[string]string{
		`<https://hub.example/hf/api/models/o/r/tree/main?cursor=a%3D>; rel="next"`: own + "cursor=a%3D",
		`</page/2?x=1>; rel=next`: "https://hub.example/page/2?x=1",
		`<https://huggingface.co/api/models/o/r/tree/main?cursor=b&limit=1000>; rel="next"`:  own + "cursor=b&limit=1000", // behind a mirror
		`<http://hub.example/2?c=1>; rel="next"`:                                             own + "c=1",
		`<http://169.254.169.254/latest?c=1>; rel="next"`:                                    own + "c=1",
		`<https://hub.example/1>; rel="first", <https://hub.example/2>; title=x; REL="NEXT"`: "https://hub.example/2",
		`<https://me:pw@hub.example/2>; rel="next"`:                                          "https://hub.example/2",
		`<https://hub.example/1>; rel="last"`:                                                "",
		`https://hub.example/2; rel="next"`:                                                  "",
		`<:>; rel="next"`:                                                                    "",
		``:                                                                                   "",
	}
	for link, want := range tests {
		got := ""
		if u := fetch.NextPage(first, link); u != nil {
			got = u.String()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", link, got, want)
		}
	}
}

const page = `[{"type":"directory","oid":"aa536c4e","size":0,"path":"Q4_K_M"},
{"type":"file","oid":"b195ed2d","size":898669,"path":"README.md"},
{"type":"file","oid":"b195ed2d","size":134,"lfs":{"oid":"8f9f21a3a4be9c8e8fe8fa2fa4e7f4e2d5c61fe5ec2d4b5d85d7a2bd1bc1a0f7","size":4368439584,"pointerSize":135},"xetHash":"f00d","path":"Q4_K_M/m-Q4_K_M-00001-of-00001.gguf"}]`

func TestPage(t *testing.T) {
	paths, sizes, err := fetch.Page(strings.NewReader(page))
	if err != nil || !slices.Equal(paths, []string{"README.md", "Q4_K_M/m-Q4_K_M-00001-of-00001.gguf"}) || !slices.Equal(sizes, []int64{898669, 4368439584}) {
		t.Errorf("got %q, %d, %v", paths, sizes, err)
	}
	for _, bad := range []string{`{"error":"x"}`, ``, `[{"type":1}]`, `null x`, "[" + strings.Repeat(" ", 16<<20) + "]"} {
		if _, _, err := fetch.Page(strings.NewReader(bad)); err == nil {
			t.Errorf("%.40q is taken", bad)
		}
	}
	for _, outside := range []string{"../x.gguf", "/etc/x.gguf", "a//x.gguf", "a/./x.gguf", `a\\x.gguf`, "a/\\u0000.gguf", ""} {
		if paths, _, err := fetch.Page(strings.NewReader(`[{"type":"file","size":1,"path":"` + outside + `"}]`)); err != nil || len(paths) != 0 {
			t.Errorf("%q: got %q, %v", outside, paths, err)
		}
	}
}

// Whatever a hub writes: no file outside, each model named, nothing beyond measure.
func FuzzPage(f *testing.F) {
	f.Add(page)
	f.Add(`[{"type":"file","size":1,"path":"x-00001-of-99999.gguf"},{"type":"file","size":-1,"path":"../y.gguf","lfs":null}]`)
	f.Add(`[{"type":"file","path":"..0"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		paths, sizes, err := fetch.Page(strings.NewReader(text))
		if err != nil {
			return
		}
		for i, p := range paths {
			if path.Clean(p) != p || path.IsAbs(p) || p == ".." || strings.HasPrefix(p, "../") || sizes[i] < 0 {
				t.Errorf("%q of %d bytes is taken", p, sizes[i])
			}
		}
		if _, names := fetch.Variants(strings.NewReader(text)); slices.Contains(names, "") || len(names) > len(paths) {
			t.Errorf("%d files are the models %q", len(paths), names)
		}
	})
}

// A link never leads to another host.
func FuzzNextPage(f *testing.F) {
	f.Add(`<https://hub.example/2?c=1>; rel="next"`)
	f.Add(`<//x.example/2>; rel=next, <\\x.example>; rel=next`)
	f.Fuzz(func(t *testing.T, link string) {
		first := &url.URL{Scheme: "https", Host: "hub.example", Path: "/api", RawQuery: "recursive=true"}
		if u := fetch.NextPage(first, link); u != nil && (u.Scheme != "https" || u.Hostname() != "hub.example" || u.User != nil) {
			t.Errorf("%q leads to %s", link, u)
		}
	})
}
