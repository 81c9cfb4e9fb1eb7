package sandboxtest

import (
	"testing"

	"github.com/cairn-run/cairn/sandbox"
)

// Run checks the contract. Open returns a driver, which is closed with t.Cleanup;
// it is called once for all tests and again for those that close it.
func Run(t *testing.T, open func(t *testing.T) sandbox.Driver, o Options) {
	t.Helper()
	s := begin(t, open, o)
	tests := map[string]func(*testing.T, *suite){
		"stdio":                    stdio,
		"exit codes":               exitCodes,
		"signals":                  signals,
		"environment":              environment,
		"directory":                directory,
		"stdin":                    stdin,
		"big output":               bigOutput,
		"a writer that fails":      failingWriter,
		"output bytes":             outputBytes,
		"concurrent":               concurrent,
		"bad commands":             badCommands,
		"wait is cancelled":        waitCancelled,
		"what is left is killed":   leftovers,
		"kill a stubborn tree":     stubbornTree,
		"kill a storm":             killStorm,
		"the first one leaves":     firstLeaves,
		"daemonised python":        pythonDaemon,
		"nohup":                    nohup,
		"detached lives on":        detachedLivesOn,
		"detached tree":            detachedTree,
		"processes":                processes,
		"freeze":                   freeze,
		"usage":                    usage,
		"destroy twice":            destroyTwice,
		"destroy kills":            destroyKills,
		"destroy by many":          destroyByMany,
		"bad specs":                badSpecs,
		"ids":                      ids,
		"start cancelled":          startCancelled,
		"create cancelled":         createCancelled,
		"wall":                     wall,
		"files limit":              filesLimit,
		"a killed command's files": killedFiles,
	}
	if o.Overlay {
		for name, test := range map[string]func(*testing.T, *suite){
			"no lower layer":     noLower,
			"32 lower layers":    func(t *testing.T, s *suite) { layers(t, s, 32) },
			"300 lower layers":   func(t *testing.T, s *suite) { layers(t, s, 300) },
			"too many layers":    tooManyLayers,
			"read-only root":     readOnlyRoot,
			"the same again":     sameAgain,
			"whiteouts":          whiteouts,
			"written files":      writtenFiles,
			"layers are kept":    lowerKept,
			"read-only mounts":   readOnlyMounts,
			"the hand":           hand,
			"where files can be": writablePlaces,
		} {
			tests[name] = test
		}
	}
	t.Run("at once", func(t *testing.T) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, s)
			})
		}
	})
	t.Run("close", func(t *testing.T) { closing(t, &suite{Driver: open(t), o: o, attacker: s.attacker, caps: s.caps}) })
	t.Run("nothing is left", func(t *testing.T) {
		before := look(t)
		for range 3 {
			b := s.box(t, nil)
			b.must(t, "true")
			b.start(t, sandbox.Cmd{Args: []string{b.attacker, "tree", "stay", token()}, Detached: true})
			if _, err := b.Destroy(within(t)); err != nil {
				t.Fatal(err)
			}
		}
		before.same(t)
	})
}
