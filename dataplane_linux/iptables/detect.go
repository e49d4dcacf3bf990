package iptables

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

// Use is what stands in the tables of one variant, of both families.
type Use struct {
	Ours   int // chains and rules of ours
	Others int // chains and rules of others; the kernel's own chains do not count
}

// Choose picks a variant. Rules of ours that stand in only one hold it there; else the one that the host's other rules use; else NFT,
// because with Legacy the kernel copies the whole table at each change. The reason is for people.
func Choose(nft, legacy Use) (Variant, string) {
	switch {
	case nft.Ours > 0 && legacy.Ours == 0:
		return NFT, fmt.Sprintf("%d chains and rules of felid stand in nft", nft.Ours)
	case legacy.Ours > 0 && nft.Ours == 0:
		return Legacy, fmt.Sprintf("%d chains and rules of felid stand in legacy", legacy.Ours)
	case legacy.Others > nft.Others:
		return Legacy, fmt.Sprintf("the host's other chains and rules are %d in legacy, %d in nft", legacy.Others, nft.Others)
	case nft.Others > 0:
		return NFT, fmt.Sprintf("the host's other chains and rules are %d in nft, %d in legacy", nft.Others, legacy.Others)
	}
	return NFT, "the host has no other rules"
}

// Detect reads the tables of both variants and families, and chooses. A variant whose programs are not installed is ruled out; any other
// error is returned, because the rules of ours that it hides may decide.
func Detect(ctx context.Context, cfg Config) (Variant, string, error) {
	d, reason, err := OpenDetected(ctx, cfg)
	if err != nil {
		return "", "", err
	}
	return d.cfg.Variant, reason, nil
}

// OpenDetected opens a Driver of the variant that Detect chooses. What was read for the choice serves the first Apply of each table, if
// nobody writes in between.
func OpenDetected(ctx context.Context, cfg Config) (*Driver, string, error) {
	nft, nftErr := survey(ctx, cfg, NFT)
	legacy, legacyErr := survey(ctx, cfg, Legacy)
	noNFT, noLegacy := errors.Is(nftErr, exec.ErrNotFound), errors.Is(legacyErr, exec.ErrNotFound)
	switch {
	case noNFT && noLegacy:
		return nil, "", fmt.Errorf("iptables is not installed, in neither variant: %w", nftErr)
	case noNFT && legacyErr == nil:
		return legacy, "the nft variant of iptables is not installed", nil
	case noLegacy && nftErr == nil:
		return nft, "the legacy variant of iptables is not installed", nil
	}
	if err := errors.Join(nftErr, legacyErr); err != nil {
		return nil, "", err
	}
	v, reason := Choose(nft.use(), legacy.use())
	if v == Legacy {
		return legacy, reason, nil
	}
	return nft, reason, nil
}

// survey opens a variant and reads all of its tables, by one call a family.
func survey(ctx context.Context, cfg Config, v Variant) (*Driver, error) {
	cfg.Variant = v
	d, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	d.first = map[Family]map[string]*ReadBack{}
	for _, f := range []Family{IPv4, IPv6} {
		sign := map[string]uint64{}
		for _, table := range []string{"filter", "nat", "mangle", "raw"} {
			if sign[table], err = d.cfg.Sign(v, f, table); err != nil {
				return nil, err
			}
		}
		out, err := d.save(ctx, f, "")
		if err != nil {
			return nil, err
		}
		if d.first[f], err = Parse(out); err != nil {
			return nil, fmt.Errorf("%s: %w", program(f, v, "save"), err)
		}
		for table, rb := range d.first[f] {
			rb.sign = sign[table]
		}
	}
	return d, nil
}

// use counts what a survey found.
func (d *Driver) use() Use {
	var u Use
	for _, tables := range d.first {
		for _, rb := range tables {
			u.Ours += len(rb.Chains) + rb.Rules
			u.Others += rb.OtherChains + rb.OtherRules
		}
	}
	return u
}

// takeFirst is what a survey read of a table, once, and only if its sign says that it still holds.
func (d *Driver) takeFirst(t *Table) *ReadBack {
	rb := d.first[t.family][t.name]
	delete(d.first[t.family], t.name)
	if rb == nil || rb.Unreadable || t.epoch.Load() != 0 {
		return nil
	}
	if now, err := t.readSign(); err != nil || now != rb.sign {
		return nil
	}
	return rb
}
