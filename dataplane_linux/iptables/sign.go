package iptables

import "fmt"

func (t *Table) readSign() (uint64, error) {
	s, err := t.driver.cfg.Sign(t.driver.cfg.Variant, t.family, t.name)
	if err != nil {
		return 0, fmt.Errorf("read sign of %s: %w", t, err)
	}
	return s, nil
}

// signAfter takes in that t has been written. The generation of nf_tables is one for all tables, and goes up by one with each call: where it went
// up by more, somebody else wrote too, and the tables keep a sign that shows it.
func (d *Driver) signAfter(t *Table, before uint64) error {
	after, err := t.readSign()
	if err != nil {
		return err
	}
	switch d.cfg.Variant {
	case Legacy:
		if t.sign == before {
			t.sign = after
		}
	case NFT:
		for _, other := range d.tables {
			if other.sign == before && after == before+1 {
				other.sign = after
			}
		}
	}
	return nil
}

// Drifted names the tables that somebody else may have changed since they were last read or written, by their signs: it starts no
// process. They want a ReadBack and Reconcile, or Forget. Tables not yet read are not named, nor those in which nothing of ours is or should be.
func (d *Driver) Drifted() ([]*Table, error) {
	var out []*Table
	var now uint64
	asked := false
	for _, t := range d.tables {
		if !t.known || t.idle() {
			continue
		}
		if !asked || d.cfg.Variant == Legacy { // the generation is one for all
			var err error
			if now, err = t.readSign(); err != nil {
				return nil, err
			}
			asked = true
		}
		if now != t.sign {
			out = append(out, t)
		}
	}
	return out, nil
}

// idle tells whether nothing of ours is in the table or should be: then others may do there what they like.
func (t *Table) idle() bool {
	for range t.sums.AllActual() {
		return false
	}
	for range t.hookSums.AllActual() {
		return false
	}
	return len(t.chains)+len(t.hooks) == 0
}
