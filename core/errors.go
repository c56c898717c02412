// Package core holds the words that every part of rbee shares. It imports the
// standard library only.
package core

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// A Kind is why an operation failed, spelled as the wire spells it. A Kind is
// itself an error, so it is attached with %w and found with errors.Is.
type Kind string

// The kinds: the one list of what can go wrong.
const (
	Invalid               Kind = "INVALID_REQUEST"
	ContextLengthExceeded Kind = "CONTEXT_LENGTH_EXCEEDED"
	Unsupported           Kind = "UNSUPPORTED"
	MissingAPIKey         Kind = "MISSING_API_KEY"
	InvalidAPIKey         Kind = "INVALID_API_KEY"
	ModelGated            Kind = "MODEL_GATED"
	HostNotAllowed        Kind = "HOST_NOT_ALLOWED"
	ModelNotFound         Kind = "MODEL_NOT_FOUND"
	NodeNotFound          Kind = "NODE_NOT_FOUND"
	WorkerNotFound        Kind = "WORKER_NOT_FOUND"
	TaskNotFound          Kind = "TASK_NOT_FOUND"
	NotFound              Kind = "NOT_FOUND" // a path that is no endpoint
	NotAllowed            Kind = "METHOD_NOT_ALLOWED"
	VersionMismatch       Kind = "VERSION_MISMATCH"
	WorkerRegistered      Kind = "WORKER_ALREADY_REGISTERED"
	WorkerBusy            Kind = "WORKER_BUSY" // it was asked to end only if nobody uses it
	BodyTooLarge          Kind = "BODY_TOO_LARGE"
	NotJSON               Kind = "UNSUPPORTED_MEDIA_TYPE"
	QueueFull             Kind = "QUEUE_FULL"
	InferenceFailed       Kind = "INFERENCE_FAILED"
	Internal              Kind = "INTERNAL"
	WorkerCrashed         Kind = "WORKER_CRASHED"
	DownloadFailed        Kind = "DOWNLOAD_FAILED"
	NodeUnreachable       Kind = "NODE_UNREACHABLE"
	SSHAuthFailed         Kind = "SSH_AUTH_FAILED"
	HostKeyUnknown        Kind = "HOST_KEY_UNKNOWN"
	HostKeyChanged        Kind = "HOST_KEY_CHANGED"
	ForwardingForbidden   Kind = "FORWARDING_FORBIDDEN"
	AllSlotsBusy          Kind = "ALL_SLOTS_BUSY"
	WorkerNotReady        Kind = "WORKER_NOT_READY"
	BackendUnavailable    Kind = "BACKEND_UNAVAILABLE"
	ShuttingDown          Kind = "SHUTTING_DOWN"
	ConnectionTimeout     Kind = "CONNECTION_TIMEOUT"
	LoadingTimeout        Kind = "LOADING_TIMEOUT"
	DownloadTimeout       Kind = "DOWNLOAD_TIMEOUT"
	InferenceStalled      Kind = "INFERENCE_STALLED"
	DeadlineExceeded      Kind = "DEADLINE_EXCEEDED"
	InsufficientMemory    Kind = "INSUFFICIENT_MEMORY"
	VRAMExhausted         Kind = "VRAM_EXHAUSTED"
	InsufficientDisk      Kind = "INSUFFICIENT_DISK"
)

// traits say what a kind means to a caller.
type traits struct {
	status    int
	retriable bool
}

var kinds = map[Kind]traits{
	Invalid:               {http.StatusBadRequest, false},
	ContextLengthExceeded: {http.StatusBadRequest, false},
	Unsupported:           {http.StatusBadRequest, false},
	MissingAPIKey:         {http.StatusUnauthorized, false},
	InvalidAPIKey:         {http.StatusUnauthorized, false},
	ModelGated:            {http.StatusForbidden, false},
	HostNotAllowed:        {http.StatusForbidden, false},
	ModelNotFound:         {http.StatusNotFound, false},
	NodeNotFound:          {http.StatusNotFound, false},
	WorkerNotFound:        {http.StatusNotFound, false},
	TaskNotFound:          {http.StatusNotFound, false},
	NotFound:              {http.StatusNotFound, false},
	NotAllowed:            {http.StatusMethodNotAllowed, false},
	VersionMismatch:       {http.StatusConflict, false},
	WorkerRegistered:      {http.StatusConflict, false},
	WorkerBusy:            {http.StatusConflict, true},
	BodyTooLarge:          {http.StatusRequestEntityTooLarge, false},
	NotJSON:               {http.StatusUnsupportedMediaType, false},
	QueueFull:             {http.StatusTooManyRequests, true},
	InferenceFailed:       {http.StatusInternalServerError, false},
	Internal:              {http.StatusInternalServerError, false},
	WorkerCrashed:         {http.StatusBadGateway, true},
	DownloadFailed:        {http.StatusBadGateway, true},
	NodeUnreachable:       {http.StatusBadGateway, true},
	SSHAuthFailed:         {http.StatusBadGateway, false},
	HostKeyUnknown:        {http.StatusBadGateway, false},
	HostKeyChanged:        {http.StatusBadGateway, false},
	ForwardingForbidden:   {http.StatusBadGateway, false},
	AllSlotsBusy:          {http.StatusServiceUnavailable, true},
	WorkerNotReady:        {http.StatusServiceUnavailable, true},
	BackendUnavailable:    {http.StatusServiceUnavailable, false},
	ShuttingDown:          {http.StatusServiceUnavailable, true},
	ConnectionTimeout:     {http.StatusGatewayTimeout, true},
	LoadingTimeout:        {http.StatusGatewayTimeout, true},
	DownloadTimeout:       {http.StatusGatewayTimeout, true},
	InferenceStalled:      {http.StatusGatewayTimeout, true},
	DeadlineExceeded:      {http.StatusGatewayTimeout, false},
	InsufficientMemory:    {http.StatusInsufficientStorage, false},
	VRAMExhausted:         {http.StatusInsufficientStorage, false},
	InsufficientDisk:      {http.StatusInsufficientStorage, false},
}

func (k Kind) Error() string { return strings.ToLower(strings.ReplaceAll(string(k), "_", " ")) }

// Status returns the HTTP status of k; 500 for a kind that is not in the list.
func (k Kind) Status() int { return cmp.Or(kinds[k].status, http.StatusInternalServerError) }

// Retriable tells whether the same request may succeed later.
func (k Kind) Retriable() bool { return kinds[k].retriable }

// ExitStatus returns what a command that failed with k exits with: 2 when what
// the person typed is at fault, else 1.
func (k Kind) ExitStatus() int {
	if k == Invalid {
		return 2
	}
	return 1
}

// KindOf returns the Kind in err's tree, or Internal when there is none.
func KindOf(err error) Kind {
	if k, ok := errors.AsType[Kind](err); ok {
		return k
	}
	return Internal
}

// A Fact is one line of what stands behind a fault: a name in snake_case, with
// its unit where it has one, and a value. Make one with Text or Number.
type Fact struct {
	Name    string
	Value   string
	numeric bool
}

// Text returns a fact that is a text.
func Text(name, value string) Fact { return Fact{Name: name, Value: value} }

// Number returns a fact that is a number, on the wire too.
func Number(name string, n int64) Fact {
	return Fact{Name: name, Value: strconv.FormatInt(n, 10), numeric: true}
}

// MarshalJSON encodes the value alone.
func (f Fact) MarshalJSON() ([]byte, error) {
	if f.numeric {
		return []byte(f.Value), nil
	}
	return json.Marshal(f.Value)
}

// A FieldError is one field of a request that breaks a rule.
type FieldError struct {
	Field      string `json:"field"`
	Constraint string `json:"constraint"` // "required", "range", "length", "type", …
	Message    string `json:"message"`
}

// A Fault is an error with what a person needs to act on it: what went wrong,
// with which values, and the next step. It is printed as
//
//	Error: <What>
//	  <name>: <value>
//	Try: <Try>
//
// and crosses the wire as message and details.
type Fault struct {
	Kind  Kind
	What  string // one line that names the thing; lower case, no full stop
	Facts []Fact
	Try   string // the next step; may be empty
	Cause error  // may be nil; not part of the text

	Fields []FieldError // of a validation error: every bad field at once
}

func (f *Fault) Error() string { return f.What }

// Unwrap makes errors.Is find the kind and the cause.
func (f *Fault) Unwrap() []error {
	if f.Cause == nil {
		return []error{f.Kind}
	}
	return []error{f.Kind, f.Cause}
}

// Public is err as a caller may see it: the details of our own faults are for the
// log, for they may name what is not the caller's.
func Public(err error) error {
	if _, ok := errors.AsType[*Fault](err); ok || KindOf(err) != Internal {
		return err
	}
	return &Fault{Kind: Internal, What: "internal error", Cause: err}
}

// FaultOf returns the fault in err's tree, or a fault made of err.
func FaultOf(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return &Fault{Kind: KindOf(err), What: err.Error(), Cause: err}
}
