// Package embedded holds the model that is inside the program: 2 million weights
// of the llama architecture in Q8_0 that word the help of rbee, which roles/keeper/guide
// puts before a question. How it was made stands in train/README.md.
package embedded

import _ "embed"

//go:embed model-q8_0.gguf
var model string

// Model returns the GGUF file. The memory is the program's own image: pages of
// it are read when they are used.
func Model() string { return model }
