// Package sandboxtest is the conformance and attack suite of package sandbox: a
// driver is done when it passes.
//
// [Run] checks the contract, [Attack] tries to get out of an instance and to harm
// the host, [Lifecycle] kills the process that holds the driver, and [AsUser]
// runs all of it again as an ordinary user. It runs on Linux: the other
// systems have only the none driver, which has tests of its own.
package sandboxtest
