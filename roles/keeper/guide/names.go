package guide

import (
	"regexp"
	"strings"
)

// The slots of a help text, and what stands there when the question has no name
// for one.
var slots = map[string]string{"NODE": "NAME", "MODEL": "MODEL", "FILE": "FILE", "WORKER": "ID", "NUMBER": "NUMBER", "ADDRESS": "ADDRESS"}

// A naming is what a question names: by slot, the name. A name that may be a
// node or a model is the node, and loose.
type naming struct {
	by    map[string]string
	loose bool
}

// marks may stand around a name.
const marks = "\"'`´’‘“”,;!?()[]<>:"

var (
	namePattern    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)
	filePattern    = regexp.MustCompile(`(?i)^[~./\w-].*\.gguf$|^(~|\.{1,2})?/[\w-][^/]*/[^ ]*[\w-]$`)
	modelPattern   = regexp.MustCompile(`^hf:\S+$|^[A-Za-z][\w.-]*:[\w.-]*[A-Za-z][\w.-]*$|^[A-Za-z][\w-]*/[\w.-]*[\d-][\w.-]*(:[\w.-]+)?$|^[\w.-]+/[\w.-]+:[\w.-]+$`)
	familyPattern  = regexp.MustCompile(`(?i)^(tinyllama|llama|qwen|gemma|mistral|mixtral|phi|smollm|deepseek)([\d.-][\w.-]*)?$`)
	workerPattern  = regexp.MustCompile(`^w(orker)?-?[0-9a-f]*[0-9][0-9a-f]*$`)
	addressPattern = regexp.MustCompile(`^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]|localhost)?:\d{2,5}$`)
	numberPattern  = regexp.MustCompile(`^\d+(\.\d+)?$`)
)

// Words before a name, and behind one.
var (
	beforeAny   = set("called named name remove delete drop forget check test is and are show using")
	beforeNode  = set("node machine box server host computer laptop pc workstation desktop on onto add ping register unregister reach from at ssh connect enroll attach detach kick via why mac bench benchmark")
	nouns       = set("node machine box server host computer laptop pc workstation desktop mac")
	surely      = set("called named on node machine box server host computer")
	owners      = set("my a your this our")
	sentTo      = set("login log prompt send question move get work")
	wanted      = set("want let make have get")
	ends        = set("from on in at is again please now anymore with for works and")
	whose       = set("log logs key keys name status state fingerprint checksum hash details memory gpu cpu disk address hardware devices size sizes speed copy file files license context login host")
	behindFirst = set("is does has doesn't should won't")
	beforeModel = set("model llm pull fetch download load unload preload run try ask with grab evict query prompt chat weights import")
	behindNode  = set("machine node box server host computer can't cannot refuses respond online offline reachable join part join? down asleep")
	behindModel = set("model weights fit fits loaded intact on")
	noName      = set(`linux windows macos ubuntu debian python java javascript docker home work scratch time top average
		demand purpose course default startup boot me you it them us him her this that these those here there what which who
		how why when where i we they not no yes all any some one two three several many more most less other another each
		every everything anything something nothing someone anyone people friends family life fun free long short good bad
		new old next last first second same different only just also still already again always never now then today
		tomorrow yesterday really very too so as if or and but because while than over under out up down off back into in
		the a an my your our their his its do does did is are was were be been have has had can could will would should may
		might must shall let make go get take use run ask help tell say know think want need like try hello hi please thanks
		yes ok sure maybe battery cpu gpu ram vram disk wifi internet lan vpn usb hugging face huggingface ollama openai rbee
		llama.cpp github gitlab git localhost chatgpt gpt youtube google school office internet web cloud earth fire water
		sleep music movies food monday tuesday wednesday thursday friday saturday sunday stdin stdout stderr json csv toml
		downstairs upstairs basement kitchen downtown outside inside anymore somehow otherwise instead usable enough
		okay fine happy ready safe alone resident inactivity healthy broken alive well bad good`)
)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

// names finds the names in a question, and returns the question with slots in
// their place.
func (v *vocabulary) names(question string) (masked string, n naming) {
	n.by = map[string]string{}
	words := strings.Fields(question)
	plain := make([]string, len(words))
	for i, w := range words {
		w = strings.TrimLeft(w, marks)
		plain[i] = strings.TrimSuffix(strings.TrimRight(w, marks+"."), "'s")
	}
	for i, w := range plain {
		kind, loose := v.kind(plain, i)
		if kind == "" || n.by[kind] != "" {
			continue
		}
		n.by[kind], n.loose = w, n.loose || loose
		words[i] = strings.Replace(words[i], w, kind, 1)
	}
	return strings.Join(words, " "), n
}

// kind tells which slot a word fills: by its form, or because it is no word that
// the help knows and stands where names stand.
func (v *vocabulary) kind(words []string, i int) (kind string, loose bool) {
	w, low := words[i], strings.ToLower(words[i])
	switch {
	case w == "" || noName[low] || strings.HasPrefix(low, "http"):
		return "", false
	case addressPattern.MatchString(w):
		return "ADDRESS", false
	case modelPattern.MatchString(w) || familyPattern.MatchString(w):
		return "MODEL", false
	case filePattern.MatchString(w) && !strings.Contains(w, "/."):
		return "FILE", false
	case workerPattern.MatchString(low):
		return "WORKER", false
	case numberPattern.MatchString(w):
		return "NUMBER", false
	case !namePattern.MatchString(w):
		return "", false
	}
	near := func(at int) string {
		if at < 0 || at >= len(words) {
			return ""
		}
		return strings.ToLower(words[at])
	}
	if v.other[stem(low)] && !surely[near(i-1)] {
		return "", false // a word of other things
	}
	odd := strings.ContainsAny(w, "0123456789_") && !v.ours[stem(low)]
	if !odd && v.ordinary(low, near(i-1)) || !odd && (nouns[near(i-1)] || near(i-1) == "model") && owners[near(i-2)] {
		return "", false // my laptop breaks: the verb is no name
	}
	return place(near(i-2), near(i-1), near(i+1), odd, strings.Contains(w, "-"), i == 0)
}

// ordinary tells whether a word is one that the help knows, or nearly so.
func (v *vocabulary) ordinary(w, before string) bool {
	if w == "mac" && before == "on" {
		return false
	}
	s := stem(w)
	return v.ours[s] || before != "called" && before != "named" && v.ours[v.nearest(s, 0.7)]
}

// place tells by the words around a name what it names. odd: it looks like a name;
// hyphened: it may be two words; first: it is the first word.
func place(twoBefore, before, behind string, odd, hyphened, first bool) (kind string, loose bool) {
	switch {
	case before == "worker" && odd:
		return "WORKER", false
	case beforeModel[before] || behind == "model" || behindModel[behind] && !beforeNode[before]:
		return "MODEL", false
	case beforeNode[before] || behindNode[behind]:
		return "NODE", false
	case before == "to" && (beforeNode[twoBefore] || sentTo[twoBefore]):
		return "NODE", false
	case behind == "to" && wanted[before] || before == "put" && (behind == "in" || behind == "into"):
		return "NODE", false
	case before == "of" && whose[twoBefore] || beforeAny[before] && (!hyphened || behind == "" || ends[behind]) || before == "whether" && behindFirst[behind] || odd || first && behindFirst[behind]:
		return "NODE", true
	}
	return "", false
}

var (
	slotPattern     = regexp.MustCompile(`\b(NODE|MODEL|FILE|WORKER|NUMBER|ADDRESS)\b(=[\w.:]+)?`)
	optionalPattern = regexp.MustCompile(` \[([^]]*)\]`)
)

// fill puts the names into the slots of a help text. Parts in brackets stand only
// with optional, and when their slots are filled.
func (n naming) fill(text string, optional bool) string {
	text = optionalPattern.ReplaceAllStringFunc(text, func(part string) string {
		part = " " + strings.Trim(part, " []")
		for _, m := range slotPattern.FindAllStringSubmatch(part, -1) {
			if !optional || n.by[m[1]] == "" {
				return ""
			}
		}
		return part
	})
	return slotPattern.ReplaceAllStringFunc(text, func(s string) string {
		kind, standard, _ := strings.Cut(s, "=")
		switch name := n.value(kind, text); {
		case name != "":
			return name
		case standard != "":
			return standard
		}
		return slots[kind]
	})
}

// value is the name for a slot in a text: a loose name may fill the other one,
// and a file does for a model.
func (n naming) value(kind, text string) string {
	switch name := n.by[kind]; {
	case name != "" || kind != "MODEL":
		return name
	case n.loose && !strings.Contains(text, "NODE"):
		return n.by["NODE"]
	}
	if file := n.by["FILE"]; strings.HasSuffix(file, ".gguf") && !strings.Contains(text, "FILE") {
		return file
	}
	return ""
}

// all tells whether there is a name for each slot of a text.
func (n naming) all(text string) bool {
	for _, m := range slotPattern.FindAllStringSubmatch(text, -1) {
		if n.value(m[1], text) == "" {
			return false
		}
	}
	return true
}
