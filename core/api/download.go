package api

import "rbee/core"

// PullRequest is the body of POST queen/v2/models/pull. Without a node the queen
// chooses one, as for an answer. The reply is a stream of PullStage.
type PullRequest struct {
	Model core.ModelRef `json:"model"` // an alias, too
	Node  core.NodeName `json:"node,omitempty"`
	Pin   bool          `json:"pin,omitempty"` // never removed to make room
}

// DownloadRequest is the body of POST hive/v1/models/download. With Copy the model
// comes from the hive's queen, else the hive asks her who has it, and then the hub.
type DownloadRequest struct {
	ModelRef core.ModelRef `json:"model_ref"`
	Copy     *Copy         `json:"copy,omitempty"`
	Pin      bool          `json:"pin,omitempty"`
}

// A Copy says what a model is made of, as a hive that has it says, and where its
// files can be had: GET URL/v1/blobs/{sha256}, with ranges.
type Copy struct {
	ModelRef core.ModelRef `json:"model_ref"` // in full: with the quantization
	Revision string        `json:"revision,omitempty"`
	From     core.NodeName `json:"from,omitempty"`
	URL      string        `json:"url,omitempty"` // empty: the hive's queen
	Files    []ModelFile   `json:"files"`
}

// A ModelFile is one file of a model; most have one, those in parts have several.
type ModelFile struct {
	Name      string `json:"name"` // as its source calls it, without directories
	SizeBytes int64  `json:"size_bytes"`
	SHA256    string `json:"sha256,omitempty"`
	Path      string `json:"path,omitempty"` // on the machine that says it
}

// DownloadID is the answer to a DownloadRequest. Asking for a model that is on its
// way joins: the same id.
type DownloadID struct {
	ID       string        `json:"download_id"`
	ModelRef core.ModelRef `json:"model_ref"` // as it is known so far
}

// The stages of a pull, in order. Copying is downloading from another hive.
const (
	StageResolving   = "resolving" // which files, of which quantization
	StageWaiting     = "waiting"   // another process of this machine, or another node, downloads it
	StageDownloading = "downloading"
	StageCopying     = "copying"
	StageVerifying   = "verifying"
	StageComplete    = "complete"
	StageFailed      = "failed"
)

// PullStage is one event of GET hive/v1/models/download/progress?id= and of POST
// queen/v2/models/pull: "complete" or "failed" is the last, then [DONE].
type PullStage struct {
	Stage          string        `json:"stage"`
	ModelRef       core.ModelRef `json:"model_ref,omitempty"` // in full, once it is known
	Node           core.NodeName `json:"node,omitempty"`      // filled in by the queen
	Note           string        `json:"note,omitempty"`      // what was decided, for people: "Q4_K_M, the first of … that fits"
	From           string        `json:"from,omitempty"`      // host of the hub, or node
	Done           int64         `json:"bytes_downloaded"`
	Total          int64         `json:"bytes_total"`
	BytesPerSecond int64         `json:"bytes_per_second"`
	ETAMS          int64         `json:"eta_ms,omitempty"`
	LocalPath      string        `json:"local_path,omitempty"` // when complete

	Code    core.Kind   `json:"code,omitempty"` // when failed
	Error   string      `json:"error,omitempty"`
	Details []core.Fact `json:"details,omitempty"`
	Try     string      `json:"try,omitempty"`
}
