//go:build linux

// Command attacker is what the attack suite runs inside a sandbox: small probes,
// each of which tries one thing that must fail, loads that use up a resource,
// and trees of processes that do not want to die.
//
//	attacker probe NAME [ARG...]   prints one JSON object: {denied, errno, detail}
//	attacker load NAME [ARG...]    prints how far it got, one number a line
//	attacker tree NAME TOKEN       prints "ready" for each process of the tree
//
// A probe never does harm when it is not denied: it opens and does not write,
// and gives arguments that fail after the permission was checked.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// result is what a probe found.
type result struct {
	Denied bool   `json:"denied"`
	Errno  string `json:"errno"` // ENOENT, ...; empty: not denied, or by no errno
	Detail string `json:"detail"`
}

// outcome makes a result of an error: any error is a denial by that errno. The
// suite decides which errnos are a denial and which a hit.
func outcome(err error, detail string) result {
	if err == nil {
		return result{Detail: detail}
	}
	r := result{Denied: true, Detail: err.Error()}
	if detail != "" {
		r.Detail += "; " + detail
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		r.Errno = unix.ErrnoName(e)
	}
	return r
}

// hidden is a denial that has no errno: what was looked for is not there.
func hidden(ok bool, detail string) result { return result{Denied: ok, Detail: detail} }

func main() {
	if len(os.Args) < 3 {
		fail("use: attacker probe|load|tree NAME [ARG...]")
	}
	name, args := os.Args[2], os.Args[3:]
	switch os.Args[1] {
	case "probe":
		probe, ok := probes[name]
		if !ok {
			fail(fmt.Sprintf("there is no probe %q: use one of %v", name, names(probes)))
		}
		b, err := json.Marshal(probe(args))
		if err != nil {
			fail(err.Error())
		}
		fmt.Println(string(b)) //nolint:forbidigo // the output of a program
	case "load":
		load, ok := loads[name]
		if !ok {
			fail(fmt.Sprintf("there is no load %q: use one of %v", name, names(loads)))
		}
		load(args)
	case "tree":
		tree(name, args)
	default:
		fail("use: attacker probe|load|tree NAME [ARG...]")
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, "attacker: "+message)
	os.Exit(2)
}

func names[T any](m map[string]T) []string {
	all := make([]string, 0, len(m))
	for n := range m {
		all = append(all, n)
	}
	sort.Strings(all)
	return all
}

// arg returns the i-th argument, and ends the program if it is missing.
func arg(args []string, i int) string {
	if i >= len(args) {
		fail(fmt.Sprintf("argument %d is missing", i+1))
	}
	return args[i]
}

// number reads an argument in Go's notation, -1 as all ones.
func number(s string) uintptr {
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return uintptr(n)
	}
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		fail(fmt.Sprintf("%q is not a number", s))
	}
	return uintptr(n)
}
