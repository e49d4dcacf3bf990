// Package cputime tells how much processor time this process has used: what a benchmark reports on a machine that others use too.
package cputime
