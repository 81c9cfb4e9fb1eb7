// Package cli is the command line. Its outside is one value, [Env], so that a
// test runs any command in its own process; [Run] is what main calls.
//
// Commands talk to a node through package client: to the one that holds the data
// directory through its socket, to another one by address, or, when there is
// none, to one that the command opens in its own process.
package cli
