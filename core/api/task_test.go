package api

import (
	"encoding/json"
	"errors"
	"testing"

	"rbee/core"
)

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		body   string
		kind   core.Kind // "" is valid
		fields []string
	}{
		"smallest":     {`{"prompt":"hi"}`, "", nil},
		"messages":     {`{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`, "", nil},
		"none":         {`{}`, core.Invalid, []string{"prompt"}},
		"both":         {`{"prompt":"x","messages":[{"role":"user","content":"y"}]}`, core.Invalid, []string{"prompt"}},
		"blank":        {`{"prompt":" \n"}`, core.Invalid, []string{"prompt"}},
		"blank raw":    {`{"prompt":" \n","raw":true}`, "", nil},
		"many at once": {`{"prompt":"x","max_tokens":0,"temperature":2.5,"top_p":-1,"stop":[""],"backend":"rocm"}`, core.Invalid, []string{"backend", "max_tokens", "temperature", "top_p", "stop[0]"}},
		"no role":      {`{"messages":[{"content":"x"},7]}`, core.Invalid, []string{"messages[0].role", "messages[1]"}},
		"image":        {`{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, core.Unsupported, nil},
		"raw chat":     {`{"messages":[{"role":"user","content":"x"}],"raw":true}`, core.Invalid, []string{"raw"}},
		"tools":        {`{"prompt":"x","tools":[{}]}`, core.Unsupported, nil},
		"logprobs":     {`{"prompt":"x","logprobs":20}`, "", nil},
		"too many":     {`{"prompt":"x","logprobs":21}`, core.Invalid, []string{"logprobs"}},
		"option node":  {`{"prompt":"x","node":"-oProxyCommand=x"}`, core.Invalid, []string{"node"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r TaskRequest
			if err := json.Unmarshal([]byte(tt.body), &r); err != nil {
				t.Fatal(err)
			}
			err := r.Validate()
			if tt.kind == "" {
				if err != nil {
					t.Errorf("got %v, want it valid", err)
				}
				return
			}
			f, ok := errors.AsType[*core.Fault](err)
			if !ok || f.Kind != tt.kind {
				t.Fatalf("got %v, want a fault of kind %s", err, tt.kind)
			}
			var got []string
			for _, b := range f.Fields {
				got = append(got, b.Field)
			}
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(tt.fields)
			if string(a) != string(b) {
				t.Errorf("bad fields: got %s, want %s", a, b)
			}
		})
	}
}
