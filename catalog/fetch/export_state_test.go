package fetch

import "time"

// CheckState reads the state of a download, and writes and reads it again: what comes
// of a state that is none is an error, of every other one the same.
func CheckState(b []byte) (same bool, err error) {
	st, err := parseState(b)
	if err != nil {
		return false, err
	}
	again, err := st.encode(0)
	if err != nil {
		return false, err
	}
	back, err := parseState(again)
	if err != nil {
		return false, err
	}
	st.afterReboot("other").Done.gaps(max(st.Size, 0), maxSize/maxPieces)
	third, err := back.encode(0)
	return string(again) == string(third), err
}

// AState is the bytes of a state.
func AState(size int64, done ...[2]int64) []byte {
	st := state{Ref: "hf:org/repo", Name: "m.gguf", Size: size, Boot: "one", Validator: `"e"`}
	for _, p := range done {
		st.Done = st.Done.with(span{p[0], p[1]})
	}
	b, err := st.encode(0)
	if err != nil {
		panic(err)
	}
	return b
}

// Rebooted is how many bytes of a file are trusted after the machine went down, and of
// how many the hash is, of which durable bytes were on the disk.
func Rebooted(boot string, durable int64) (trusted, hashed int64) {
	st := state{Size: 100, Boot: "one", Done: spans{{0, 50}, {60, 70}}, Durable: durable, Hashed: 40, Hash: []byte("h")}.afterReboot(boot)
	return st.Done.bytes(), st.Hashed
}

// Spans are bytes of a file, and what is missing of it.
func Spans(size, most int64, done ...[2]int64) (bytes, front int64, gaps [][2]int64) {
	var s spans
	for _, p := range done {
		s = s.with(span{p[0], p[1]})
	}
	if !s.valid(size) {
		panic("fetch: spans that are not in order")
	}
	for _, g := range s.gaps(size, most) {
		gaps = append(gaps, [2]int64{g.From, g.To})
	}
	return s.bytes(), s.front(), gaps
}

// Pause is how long is waited after some tries, of which the last said when to ask again.
func Pause(tries int, header map[string][]string, now time.Time) time.Duration {
	return backoff(Options{}.withDefaults().Backoff, tries, withRetryAfter(errStalled, header, now))
}
