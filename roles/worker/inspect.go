package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/inference"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Usage: "what a model file holds, what it needs, and what of it runs fast", ArgsUsage: "FILE",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "ctx", Usage: "the memory for so many tokens per sequence; 0: the model's, at most 8192"},
			&cli.IntFlag{Name: "slots", Usage: "and so many answers at once", Value: 1},
			&cli.BoolFlag{Name: "json", Usage: "the same as JSON"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return &core.Fault{Kind: core.Invalid, What: "want one FILE", Try: "rbee worker inspect model.gguf"}
			}
			path := c.Args().First()
			in, err := inference.Inspect(path, c.Int("ctx"), c.Int("slots"))
			if err != nil {
				return loadFault(path, err)
			}
			if c.Bool("json") {
				return json.NewEncoder(c.App.Writer).Encode(inspectionJSON(path, in))
			}
			return printInspection(c.App.Writer, path, in)
		},
	}
}

// An inspection is what inspect prints with --json.
type inspection struct {
	File       string            `json:"file"`
	Name       string            `json:"name"`
	Bytes      int64             `json:"size_bytes"`
	Version    uint32            `json:"gguf_version"`
	Parameters int64             `json:"n_params"`
	Supported  bool              `json:"supported"`
	Reason     string            `json:"reason,omitempty"` // why it is not
	Metadata   []inference.Shown `json:"metadata"`
	Tensors    []tensors         `json:"tensors"`
	Memory     *memory           `json:"memory,omitempty"`
	Speed      []speed           `json:"speed"`
}

type tensors struct {
	Role     string   `json:"role"`
	Count    int      `json:"count"`
	Types    []string `json:"types"`
	Elements int64    `json:"n_elements"`
	Bytes    int64    `json:"size_bytes"`
}

type memory struct {
	Context int   `json:"context_length"`
	Slots   int   `json:"slots"`
	Weights int64 `json:"weights_bytes"`
	KV      int64 `json:"kv_bytes"`
	Compute int64 `json:"compute_bytes"`
	Total   int64 `json:"total_bytes"`
}

type speed struct {
	Type  string `json:"type"`
	Bytes int64  `json:"size_bytes"`
	Class string `json:"class"`
}

func inspectionJSON(path string, in inference.Inspection) inspection {
	out := inspection{
		File: path, Name: in.Name, Bytes: in.Bytes, Version: in.Version, Parameters: in.Parameters,
		Supported: in.Runs == nil, Metadata: in.Metadata, Tensors: []tensors{}, Speed: []speed{},
	}
	if in.Runs != nil {
		out.Reason = in.Runs.Error()
	}
	for _, g := range in.Groups {
		out.Tensors = append(out.Tensors, tensors{g.Role, g.Count, g.Types, g.Elements, g.Bytes})
	}
	if n := in.Needs; in.NeedsError == nil {
		out.Memory = &memory{in.Context, in.Slots, n.Weights, n.KV, n.Compute, n.Total()}
	}
	for _, s := range in.Speeds {
		out.Speed = append(out.Speed, speed(s))
	}
	return out
}

func printInspection(w io.Writer, path string, in inference.Inspection) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n  %s, %d weights, %s, GGUF %d\n", path, in.Name, in.Parameters, megabytes(in.Bytes), in.Version)
	if in.Runs != nil {
		fmt.Fprintf(&b, "  does not run here: %v\n", in.Runs)
	}
	fmt.Fprint(&b, "\nmetadata\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range in.Metadata {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", s.Key, s.Type, shownText(s))
	}
	_ = t.Flush() // into memory
	fmt.Fprint(&b, "\ntensors\n")
	for _, g := range in.Groups {
		fmt.Fprintf(t, "  %s\t× %d\t%s\t%s\n", g.Role, g.Count, strings.Join(g.Types, " "), megabytes(g.Bytes))
	}
	_ = t.Flush()
	if n := in.Needs; in.NeedsError == nil {
		fmt.Fprintf(&b, "\nmemory with a context of %d tokens and %d at once\n", in.Context, in.Slots)
		fmt.Fprintf(t, "  weights\t%s\n  cache\t%s\n  buffers\t%s\n  together\t%s\n", megabytes(n.Weights), megabytes(n.KV), megabytes(n.Compute), megabytes(n.Total()))
		_ = t.Flush()
	}
	fmt.Fprint(&b, "\nspeed of the matrices\n")
	total := int64(0)
	for _, s := range in.Speeds {
		total += s.Bytes
	}
	for _, s := range in.Speeds {
		fmt.Fprintf(t, "  %s\t%.0f %%\t%s\n", s.Type, 100*float64(s.Bytes)/float64(max(total, 1)), classes[s.Class])
	}
	_ = t.Flush()
	_, err := w.Write(b.Bytes())
	return err
}

var classes = map[string]string{
	"fast": "fast: vector instructions", "integer": "slower: integers in plain Go",
	"plain": "slow: decoded to float32 first", "not at all": "this engine cannot read it",
}

// shownText is a value in one short line.
func shownText(s inference.Shown) string {
	if s.Value != nil {
		return short(string(s.Value))
	}
	var items []string
	for _, i := range s.Items {
		items = append(items, short(string(i)))
	}
	more := ""
	if len(s.Items) < s.Count {
		more = fmt.Sprintf(" … (%d)", s.Count)
	}
	return strings.Join(items, " ") + more
}

func short(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func megabytes(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
