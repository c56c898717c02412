// Package fetch brings the files of models to this machine: from a hub that speaks
// Hugging Face's API, or from another machine of the pool. What breaks off goes on
// where it was, what arrives is what was promised, and one download serves all who
// ask for it, in other processes too.
package fetch

import (
	"context"
	"net/http"

	"rbee/core"
)

// A Plan is what a reference stands for: the files to fetch.
type Plan struct {
	Ref      core.ModelRef // in full: with the quantization or file
	Revision string        // commit of the repository; empty when the source has none
	Files    []File        // of a model in parts in the order of the parts
	Note     string        // what was decided and why, for people; "" when nothing was
	From     string        // host or node, for people
	Needs    int64         // bytes of memory for the use that was asked for; 0: not known
	HTTP     *http.Client  // what its sources are asked with; nil: the fetcher's
}

// A File is one file of a plan.
type File struct {
	Name   string // base name at the source
	Size   int64  // bytes; −1: not known before the first answer
	SHA256 string // lower-case hexadecimal; "" when the source does not say
	Source Source
}

// A Source says where a file can be had at this moment. It is asked before each
// try: signed addresses expire. The request it returns is a GET of the whole file;
// ranges are added to it.
type Source func(ctx context.Context) (*http.Request, error)

// A Result is a file that is here, whole and verified.
type Result struct {
	Name   string
	Path   string
	Size   int64
	SHA256 string
}

// Progress is how far a fetch is, over all files of its plan.
type Progress struct {
	Stage string // of the wire: api.StageWaiting, api.StageDownloading …
	Done  int64  // bytes that are here
	Total int64  // 0: not known yet
	Rate  int64  // bytes per second, of the last seconds
}
