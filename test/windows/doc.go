// Package windows holds the tests of felid's Windows side that need Wine: the real programs, and the tests of portable packages built for
// Windows, against an emulator of HNS. README.md says how to use its parts by hand.
package windows
