// Package render holds the tests that give what `felid render` prints to the programs it is for.
package render
