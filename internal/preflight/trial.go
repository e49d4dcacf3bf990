package preflight

// Trial is what became of something that felid takes for granted about a host, when it was tried there.
type Trial struct {
	Name    string `json:"name"` // "H7", "iptables set"
	Text    string `json:"text"` // what is taken for granted
	Outcome string `json:"outcome"`
	Detail  string `json:"detail,omitempty"`
	// Refuse: it is false, and policy can't be enforced without it.
	Refuse bool `json:"refuse"`
}

// String is "H7 Proven: Local is the endpoint's side", with the detail in parentheses if there is one.
func (t *Trial) String() string {
	text := t.Name + " " + t.Outcome + ": " + t.Text
	if t.Detail != "" {
		text += " (" + t.Detail + ")"
	}
	return text
}
