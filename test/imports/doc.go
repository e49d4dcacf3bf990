// Package imports holds the import map of docs/architecture.md by a test. It has no code.
package imports
