// Package swe turns the recorded trajectories of SWE-agent into decisions of the
// script model: what a model wrote to a shell and an editor of its own becomes
// calls of the built-in tools, on a repository that holds what the recording
// shows of the files. What a tool then answers can be held against what was
// observed when it was recorded.
//
// Recorded were coding tasks (SWE-bench, HumanEvalFix, a test repository) and
// capture-the-flag challenges; see the PROVENANCE.txt beside the data.
//
// The commands that SWE-agent brought along become:
//
//	open, set_cursors          read, of the lines that were shown
//	create                     write
//	edit and insert by line    python: the program lines.py, which checks the syntax as the recorded editor did
//	edit by search             edit; what the recorded linter refused goes to lines.py, which has to refuse it too
//	find_file                  bash: find
//	submit                     bash: git diff, or the program submit of a challenge
//
// Everything else is executed by bash as it was written, but for the folder,
// which is /workspace here.
package swe
