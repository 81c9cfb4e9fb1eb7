// Package vault resolves references to secrets: a configuration names where a
// credential lies, and only the request that it authenticates gets its value.
//
//	env:NAME              the environment variable NAME
//	keyring:SERVICE/USER  the keyring of the operating system
//	age:FILE#NAME         an entry of a file that is encrypted with age (https://age-encryption.org)
//
// No error, log or list of this package holds a value, or text that somebody put
// where a reference belongs.
package vault
