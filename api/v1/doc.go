// Package v1 is the wire form of the REST and SSE API, version 1: what requests
// and responses hold, as Go types. Server and client share it.
//
// Amounts are nano-dollars in responses; requests may also write "$1.25". Times
// are RFC 3339, durations are written as "30m".
package v1
