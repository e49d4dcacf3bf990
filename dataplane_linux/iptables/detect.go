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
	nft, nftErr := use(ctx, cfg, NFT)
	legacy, legacyErr := use(ctx, cfg, Legacy)
	noNFT, noLegacy := errors.Is(nftErr, exec.ErrNotFound), errors.Is(legacyErr, exec.ErrNotFound)
	switch {
	case noNFT && noLegacy:
		return "", "", fmt.Errorf("iptables is not installed, in neither variant: %w", nftErr)
	case noNFT && legacyErr == nil:
		return Legacy, "the nft variant of iptables is not installed", nil
	case noLegacy && nftErr == nil:
		return NFT, "the legacy variant of iptables is not installed", nil
	}
	if err := errors.Join(nftErr, legacyErr); err != nil {
		return "", "", err
	}
	v, reason := Choose(nft, legacy)
	return v, reason, nil
}

func use(ctx context.Context, cfg Config, v Variant) (Use, error) {
	cfg.Variant = v
	d, err := Open(cfg)
	if err != nil {
		return Use{}, err
	}
	var u Use
	for _, f := range []Family{IPv4, IPv6} {
		out, err := d.save(ctx, f, "")
		if err != nil {
			return Use{}, err
		}
		// Tables that the program can't show belong to nftables itself: nobody uses iptables on them.
		tables, err := Parse(out)
		if err != nil {
			return Use{}, fmt.Errorf("%s: %w", program(f, v, "save"), err)
		}
		for _, rb := range tables {
			u.Ours += len(rb.Chains) + rb.Rules
			u.Others += rb.OtherChains + rb.OtherRules
		}
	}
	return u, nil
}
