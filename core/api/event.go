package api

import (
	"encoding/json"
	"fmt"
	"time"

	"rbee/core"
)

// An Event is one message of an answer's stream: *Started, *Token, *Narration,
// *Metrics, *End or *Failure; *Sealed, which is a token, too; and *Comment, which is
// not an event on the wire but a sign of life.
type Event interface {
	// Name is the event's name on the wire; "" for a comment.
	Name() string
}

// Started opens a stream.
type Started struct {
	JobID     core.TaskID   `json:"job_id"`
	Model     core.ModelRef `json:"model"`
	Node      core.NodeName `json:"node,omitempty"`
	WorkerID  core.WorkerID `json:"worker_id,omitempty"`
	StartedAt time.Time     `json:"started_at"`
}

// Token is a piece of the answer. A token that ends inside a character has no
// event of its own: its bytes come with the next.
type Token struct {
	Text    string  `json:"t"` // valid UTF-8
	Index   int     `json:"i"`
	ID      int32   `json:"id"`
	Channel Channel `json:"channel"`

	// Log-probabilities in the model's distribution, when they were asked for.
	Logprob     *float64  `json:"logprob,omitempty"`
	TopLogprobs []Logprob `json:"top_logprobs,omitempty"` // the likeliest first
	// Pieces are the tokens that the text is of, where it is not this one alone:
	// those that ended inside a character, or in what may have been a stop string.
	Pieces []Piece `json:"pieces,omitempty"`
}

// Sealed is a token as it is on the wire. Who only passes it on need not know what
// is in it.
type Sealed struct{ Data []byte }

// Token returns what is in it.
func (s *Sealed) Token() (*Token, error) {
	t := new(Token)
	if err := json.Unmarshal(s.Data, t); err != nil {
		return nil, fmt.Errorf("api: event %s: %w", tokenName, err)
	}
	return t, nil
}

// Logprob is a token with its log-probability.
type Logprob struct {
	ID      int32   `json:"id"`
	Text    string  `json:"t"`
	Bytes   []int   `json:"bytes,omitempty"` // when they are not those of Text
	Logprob float64 `json:"logprob"`
}

// A Piece is a token that had no event of its own.
type Piece struct {
	Logprob

	TopLogprobs []Logprob `json:"top_logprobs,omitempty"`
}

// Channel is what a token belongs to.
type Channel string

// The channels.
const (
	TextChannel      Channel = "text"
	ReasoningChannel Channel = "reasoning"
	ToolChannel      Channel = "tool"
)

// Narration says, for people, what is being done.
type Narration struct {
	Actor  string `json:"actor"` // keeper, queen, hive, worker
	Action Action `json:"action"`
	Human  string `json:"human"`
}

// Action is what a narration tells of.
type Action string

// The actions, in the order in which a run meets them.
const (
	QueenStart Action = "queen_start"
	SSHConnect Action = "ssh_connect"
	HiveStart  Action = "hive_start"
	Push       Action = "push"
	Download   Action = "download"
	Load       Action = "load" // the first layer is being loaded
	IsReady    Action = "ready"
	Prefill    Action = "prefill"
	Decode     Action = "decode"
	Note       Action = "note" // something else worth knowing
	Cleanup    Action = "cleanup"
)

// Metrics are the figures of an answer.
type Metrics struct {
	QueueMS       int64   `json:"queue_ms"`
	LoadMS        int64   `json:"load_ms"`
	PrefillTokens int     `json:"prefill_tokens"`
	CachedTokens  int     `json:"cached_tokens"`
	PrefillTPS    float64 `json:"prefill_tps"`
	DecodeTPS     float64 `json:"decode_tps"`
	MemoryBytes   int64   `json:"memory_bytes"`
}

// StopReason is why an answer ended.
type StopReason string

// The reasons.
const (
	StopEOS       StopReason = "EOS"
	StopMaxTokens StopReason = "MAX_TOKENS"
	StopSequence  StopReason = "STOP_SEQUENCE"
	StopToolCalls StopReason = "TOOL_CALLS"
	StopCancelled StopReason = "CANCELLED"
)

// End closes the stream of an answer that came to its end.
type End struct {
	TokensOut           int        `json:"tokens_out"`
	DecodeTimeMS        int64      `json:"decode_time_ms"`
	StopReason          StopReason `json:"stop_reason"`
	StopSequenceMatched string     `json:"stop_sequence_matched,omitempty"`
	Usage               Usage      `json:"usage"`
	Receipt             Receipt    `json:"receipt"`
}

// Usage counts tokens.
type Usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	CachedTokens     int `json:"cached_tokens"`
}

// Receipt says what made the answer, so that it can be made again.
type Receipt struct {
	ModelSHA256 *string       `json:"model_sha256"` // nil while it is being computed
	Quant       string        `json:"quant"`
	Engine      string        `json:"engine"` // "rbee VERSION"
	Node        core.NodeName `json:"node"`
	Device      string        `json:"device"`
	KernelClass string        `json:"kernel_class"` // "cpu-2"
	Seed        uint64        `json:"seed"`
}

// Failure closes the stream of an answer that failed; "error" on the wire. What
// was said before it stands.
type Failure struct {
	Code      core.Kind `json:"code"`
	Message   string    `json:"message"`
	Retriable bool      `json:"retriable"`
	TokensOut int       `json:"tokens_out"`
	Details   Details   `json:"details,omitempty"`
}

// Comment is a comment line of the stream, such as "loading 40%".
type Comment struct{ Text string }

// Name is "started".
func (*Started) Name() string { return "started" }

const tokenName = "token"

// Name is "token".
func (*Token) Name() string { return tokenName }

// Name is "token".
func (*Sealed) Name() string { return tokenName }

// Name is "narration".
func (*Narration) Name() string { return "narration" }

// Name is "metrics".
func (*Metrics) Name() string { return "metrics" }

// Name is "end".
func (*End) Name() string { return "end" }

// Name is "error".
func (*Failure) Name() string { return "error" }

// Name is "": a comment has none.
func (*Comment) Name() string { return "" }

// Fail makes the closing event of err, after n tokens.
func Fail(err error, n int) *Failure {
	f := core.FaultOf(err)
	return &Failure{Code: f.Kind, Message: f.What, Retriable: f.Kind.Retriable(), TokensOut: n, Details: detailsOf(f)}
}

// Err returns the failure as an error with its kind, facts and next step.
func (f *Failure) Err() error { return f.Details.fault(f.Code, f.Message) }

// EncodeEvent returns the event as one JSON object with its name in "type".
func EncodeEvent(ev Event) ([]byte, error) {
	if s, ok := ev.(*Sealed); ok {
		return s.Data, nil
	}
	b, err := json.Marshal(ev)
	if err != nil {
		return nil, fmt.Errorf("api: event %s: %w", ev.Name(), err)
	}
	head := `{"type":"` + ev.Name() + `"`
	if len(b) > 2 {
		head += ","
	}
	return append([]byte(head), b[1:]...), nil
}

// DecodeEvent is the reverse of EncodeEvent. An event of an unknown name is a
// nil Event and no error: it comes from a newer version.
func DecodeEvent(name string, data []byte) (Event, error) {
	var ev Event
	switch name {
	case "started":
		ev = new(Started)
	case tokenName:
		ev = new(Token)
	case "narration":
		ev = new(Narration)
	case "metrics":
		ev = new(Metrics)
	case "end":
		ev = new(End)
	case "error":
		ev = new(Failure)
	default:
		return nil, nil
	}
	if err := json.Unmarshal(data, ev); err != nil {
		return nil, fmt.Errorf("api: event %s: %w", name, err)
	}
	return ev, nil
}
