package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"rbee/core"
	"rbee/inference/gguf"
	"rbee/inference/model"
)

// peekBytes are asked for to look into a file, peekStep are read at a time: the keys
// that matter stand at its start, before the words of the tokenizer.
const (
	peekBytes = 1 << 20
	peekStep  = 32 << 10
)

// peek reads as much of a file's header as tells what memory the model needs, 1 MiB
// at most. What it returns has no tensors: its Needs are without weights. commit is
// the state of the repository that the hub says the file is of, "" when it does not.
func (h *Hub) peek(ctx context.Context, ref core.Hub, f File) (header *gguf.File, commit string, err error) {
	err = h.get(ctx, ref, f.Name, f.Source, func(resp *http.Response) (err error) {
		commit = repoCommit(resp)
		header, err = readHeader(resp.Body, f.Size)
		if errors.Is(err, gguf.ErrFormat) {
			return &core.Fault{Kind: core.Unsupported, What: fmt.Sprintf("%s: %s is no usable GGUF file: %v", ref.Ref(), f.Name, err), Try: "see " + h.page(ref), Cause: err}
		}
		return err
	})
	return header, commit, err
}

// repoCommit is X-Repo-Commit of the answer, or of the redirect that led to it.
func repoCommit(resp *http.Response) string {
	for resp != nil {
		if commit := commitOf(resp.Header.Get("X-Repo-Commit")); commit != "" {
			return commit
		}
		resp = resp.Request.Response
	}
	return ""
}

// readHeader reads the start of a file of size bytes until it says enough.
func readHeader(body io.Reader, size int64) (*gguf.File, error) {
	start, n := make([]byte, min(max(size, 0), peekBytes)), 0
	for {
		read, err := io.ReadFull(body, start[n:min(n+peekStep, len(start))])
		n += read
		header, enough, bad := gguf.ParsePrefix(start[:n], size)
		switch {
		case bad != nil:
			return nil, bad
		case enough || err == nil && n == len(start):
			return header, nil
		case err != nil:
			return nil, fmt.Errorf("after %d bytes of %d: %w", n, len(start), err)
		}
	}
}

// supported refuses a model that the engine does not run.
func supported(ref core.ModelRef, header *gguf.File) error {
	arch := header.Architecture()
	if slices.Contains(model.Architectures(), arch) {
		return nil
	}
	return &core.Fault{
		Kind: core.Unsupported, What: fmt.Sprintf("%s: architecture %q is not supported, only: %s", ref, arch, model.Supported()),
		Try: "choose a model of one of these",
	}
}

// A Room is what a model has to fit into.
type Room struct {
	Bytes   int64 // of memory; 0: not known, everything fits
	Context int   // tokens of each sequence; 0: the model's, at most 8192
	Slots   int   // sequences; 0: 4

	tagged bool // a person has chosen: the weights have to fit, no more
}

const defaultSlots = 4

// needs is the memory of a model whose files have size bytes.
func (r Room) needs(header *gguf.File, size int64) int64 {
	if r.tagged {
		return size
	}
	slots := r.Slots
	if slots == 0 {
		slots = defaultSlots
	}
	n, err := header.Needs(r.Context, slots)
	if err != nil { // it does not say
		return size + size/10
	}
	return size + n.KV + n.Compute
}

// tooLarge is the fault of a model that does not fit.
func tooLarge(ref core.ModelRef, need int64, room Room) error {
	return &core.Fault{
		Kind: core.InsufficientMemory, What: fmt.Sprintf("%s needs %s of memory, %s are there", ref, gigabytes(need), gigabytes(room.Bytes)),
		Facts: []core.Fact{core.Number("required_bytes", need), core.Number("available_bytes", room.Bytes)},
		Try:   "give a smaller --ctx, a smaller model, or a machine with more memory",
	}
}

// note says what was chosen without a tag, and why.
func note(v variant, candidates []variant, room Room, larger core.ModelRef, need int64) string {
	switch {
	case need > 0:
		return fmt.Sprintf("%s: %s needs %s of memory, %s are there", v.tag, larger, gigabytes(need), gigabytes(room.Bytes))
	case v.tag == "" || len(candidates) == 1 && !slices.Contains(core.Preferred, v.tag):
		return "the only model of the repository"
	case room.Bytes > 0:
		return fmt.Sprintf("%s, the first of %s that is there and fits", v.tag, strings.Join(core.Preferred, ", "))
	}
	return fmt.Sprintf("%s, the first of %s that is there", v.tag, strings.Join(core.Preferred, ", "))
}

func gigabytes(n int64) string { return fmt.Sprintf("%.1f GB", float64(n)/1e9) }
