// Package dstest proves that a back end keeps the contract of datastore.Store (RunConformance), and has Memory, a Store in memory
// with real semantics for tests of what is built on one.
package dstest
