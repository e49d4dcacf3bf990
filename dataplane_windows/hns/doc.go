// Package hns holds the objects of the Windows Host Networking Service as plain structs, as HNS reads and writes them in schema 2.
// They compile everywhere. Nothing of policy is known here, and no call is made yet.
package hns
