package probe

// Outcome of a trial.
type Outcome string

// The outcomes.
const (
	Proven   Outcome = "Proven"
	False    Outcome = "False"
	NotTried Outcome = "NotTried"
)

// Finding is what became of one trial.
type Finding struct {
	Name    string  `json:"name"`
	Text    string  `json:"text"` // what is tried
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"` // what was seen instead, or why it was not tried
}

// Untried are the findings where nothing could be tried, for this reason.
func Untried(reason string) []Finding {
	var out []Finding
	for _, t := range trials {
		out = append(out, Finding{Name: t.name, Text: t.text, Outcome: NotTried, Detail: reason})
	}
	return out
}
