// Package user has an object in testdata.
package user
