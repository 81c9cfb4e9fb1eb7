// Package boot makes a binary able to be the helper and the first process of a
// sandbox: a binary that imports it, and is started under one of their names,
// becomes that and never gets to its main function.
//
// This is done in an init function, the only one of the project, because the
// packages of the command need 6 to 7 ms to initialise (measured with
// GODEBUG=inittrace=1), more than everything else that makes a sandbox. Go
// initialises a package when all it imports is done, and of those that are ready
// the one with the smallest path first. With few imports and an early path this
// one comes after 76 small packages of 165 and before all large ones. What it and its
// own imports may import is kept short for that: encoding/json or runtime/debug
// would move it behind most others.
package boot
