package api

import (
	"cmp"
	"fmt"
	"slices"

	"rbee/core"
)

// PullRequest is the body of POST queen/v2/models/pull. Without a node the queen
// chooses one, as for an answer. The reply is a stream of PullStage.
type PullRequest struct {
	Model core.ModelRef `json:"model"` // an alias, too
	Node  core.NodeName `json:"node,omitempty"`
	Pin   bool          `json:"pin,omitempty"` // never removed to make room
}

// DownloadRequest is the body of POST hive/v1/models/download. With Copy the model
// comes from the hive's queen and nowhere else; without it the hive asks her who has
// it, and then the hub.
type DownloadRequest struct {
	ModelRef core.ModelRef `json:"model_ref"`
	Copy     *Copy         `json:"copy,omitempty"`
	Pin      bool          `json:"pin,omitempty"`
	LeaseID  string        `json:"lease_id,omitempty"` // whose queen is meant; empty: the hive's own
	Use
}

// A Use is what a model is wanted for. A model that the machine could never load so
// is not downloaded. The zero value is for keeps.
type Use struct {
	ContextLength int `json:"context_length,omitempty"` // tokens per sequence; 0: the model's default
	Slots         int `json:"slots,omitempty"`          // 0: it is not to be loaded now
}

// A Copy says what a model is made of, as a hive that has it says, and where its
// files can be had: GET URL/v1/blobs/{sha256}?node=FROM, with ranges.
type Copy struct {
	ModelRef core.ModelRef `json:"model_ref"` // in full: with the quantization
	Revision string        `json:"revision,omitempty"`
	From     core.NodeName `json:"from,omitempty"`
	URL      string        `json:"url,omitempty"` // of the queen, on a loopback address of the hive's machine; empty: as the hive knows her
	Files    []ModelFile   `json:"files"`
}

// ResolveRequest is the body of POST hive/v1/models/resolve: what would a download
// bring? The answer is a Resolved.
type ResolveRequest struct {
	ModelRef core.ModelRef `json:"model_ref"`
	Use
}

// Resolved is what a reference stands for on a machine.
type Resolved struct {
	ModelRef   core.ModelRef `json:"model_ref"`         // in full
	OnDisk     bool          `json:"on_disk,omitempty"` // it is here
	Note       string        `json:"note,omitempty"`    // what was decided, for people
	From       string        `json:"from,omitempty"`    // host of the hub
	SizeBytes  int64         `json:"size_bytes"`
	NeedsBytes int64         `json:"needs_bytes,omitempty"` // of memory, for the use that was given; 0: not known
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

	Code    core.Kind `json:"code,omitempty"` // when failed
	Error   string    `json:"error,omitempty"`
	Details Details   `json:"details,omitempty"` // the next step among them
}

// FailedStage is the last stage of a pull that err has ended.
func FailedStage(err error) PullStage {
	f := core.FaultOf(err)
	return PullStage{Stage: StageFailed, Code: f.Kind, Error: f.What, Details: detailsOf(f)}
}

// Err is why a pull failed; nil for every stage but the failed one.
func (s *PullStage) Err() error {
	if s.Stage != StageFailed {
		return nil
	}
	return s.Details.fault(cmp.Or(s.Code, core.DownloadFailed), s.Error)
}

// Final tells whether nothing comes after the stage.
func (s *PullStage) Final() bool { return s.Stage == StageComplete || s.Stage == StageFailed }

// comment is the form of a stage that moves bytes in the stream of an answer.
const comment = "%s %d%% (%d of %d bytes, %d bytes/s)"

// Comment says how far a pull is, as a comment in the stream of an answer that waits
// for it.
func (s *PullStage) Comment() string {
	if s.Total <= 0 {
		return s.Stage
	}
	return fmt.Sprintf(comment, s.Stage, 100*s.Done/s.Total, s.Done, s.Total, s.BytesPerSecond)
}

// ParseComment is the reverse of Comment, for stages that move bytes. Of other
// comments it makes nothing.
func ParseComment(text string) (s PullStage, ok bool) {
	var percent int64
	if _, err := fmt.Sscanf(text, comment, &s.Stage, &percent, &s.Done, &s.Total, &s.BytesPerSecond); err != nil {
		return PullStage{}, false
	}
	ok = slices.Contains([]string{StageWaiting, StageDownloading, StageCopying, StageVerifying}, s.Stage) && s.Done >= 0 && s.Done <= s.Total && s.BytesPerSecond >= 0
	if ok && s.BytesPerSecond > 0 {
		s.ETAMS = int64(min(float64(s.Total-s.Done)/float64(s.BytesPerSecond)*1000, 1e15))
	}
	return s, ok
}

// VerifyRequest is the body of POST hive/v1/models/verify and queen/v2/models/verify:
// the files of a model, or of all, are read and hashed anew. The reply is a stream of
// VerifyStage. Only a queen heeds the node; without one all hives verify.
type VerifyRequest struct {
	Model core.ModelRef `json:"model,omitempty"` // empty: all
	Node  core.NodeName `json:"node,omitempty"`
}

// The stages of the verification of one model: it ends with one of the last three.
const (
	VerifyReading = "verifying"
	VerifyGood    = "good"
	VerifyDamaged = "damaged" // a file is not what it was, and is not used any more
	VerifyFailed  = "failed"  // it could not be read
)

// VerifyStage is one event of a verification.
type VerifyStage struct {
	Stage    string        `json:"stage"`
	ModelRef core.ModelRef `json:"model_ref"`
	Node     core.NodeName `json:"node,omitempty"` // filled in by the queen
	Done     int64         `json:"bytes_done"`
	Total    int64         `json:"bytes_total"`
	Error    string        `json:"error,omitempty"` // what is wrong, of which file
}

// CollectRequest is the body of POST hive/v1/models/gc and queen/v2/models/gc: what no
// model needs is removed from the directory of models, such as the rests of downloads
// that nobody goes on with. Only a queen heeds the node; without one all hives do it.
type CollectRequest struct {
	DryRun bool          `json:"dry_run,omitempty"` // only says what would go
	Node   core.NodeName `json:"node,omitempty"`
}

// A Collected is one file that was removed, or would be.
type Collected struct {
	Path      string        `json:"path"`
	SizeBytes int64         `json:"size_bytes"`
	Why       string        `json:"why"`
	Node      core.NodeName `json:"node,omitempty"` // filled in by the queen
}

// Collection is the answer to a CollectRequest.
type Collection struct {
	Removed []Collected `json:"removed"`
	Errors  []NodeError `json:"errors,omitempty"` // of nodes that could not do it
}

// Removed is the answer of a queen to DELETE /v2/models/{ref}.
type Removed struct {
	Nodes  []core.NodeName `json:"nodes"`            // that had the model, and have it no more
	Errors []NodeError     `json:"errors,omitempty"` // of those that keep it: it is in use there
}

// A NodeError says why a node did not do what all were asked for.
type NodeError struct {
	Node  core.NodeName `json:"node"`
	Code  core.Kind     `json:"code"`
	Error string        `json:"error"`
	Try   string        `json:"try,omitempty"`
}
