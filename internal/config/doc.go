// Package config is the one configuration of felid: a struct, and where its values come from (flags, environment, file, defaults, in
// that order of precedence). It opens the datastore that the configuration names.
//
// Invariants: every value has a flag --some-name, an environment variable FELID_SOME_NAME and a key someName in the file that
// --config names; an unknown key, variable-less value or unreadable value is an error that names it and says what would be valid;
// where a value came from can be printed. Nothing here enforces anything.
package config
