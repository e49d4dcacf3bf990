package ipset

// Pending tells whether ApplyAdds or ApplyRemoves would write, as far as is known.
func (s *Sets) Pending() bool { return !s.known || len(s.dirty) > 0 || len(s.unused) > 0 }
