package builtin

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode"

	"github.com/cairn-run/cairn/sandbox"
)

// startName is the variable that holds the script, and starter runs it: so the list of
// processes shows the command, and not the script.
const (
	startName = "CAIRN_START"
	starter   = `eval "$CAIRN_START"`
)

// Scripts around what the model wrote: $1 is that, and after [argsMark] come the
// directory to begin in ($3) and the one to take if it is gone ($4). Standard error is
// where they report working directories, each ended by a NUL; the command's own goes
// where its output goes, so that both come in the order they were written. A script is
// put on one line, so that the lines of the command are counted from 1.
//
// bash reports through the descriptor $5, see [reportFD].
//
// cd, pushd and popd report where they went, so that the directory is known however
// the command ends: by exit, by exec, or killed. In subshells they do not. With set -x
// they show nothing of themselves.
var (
	bashArgument = oneLine(bashStart + `cairn_command=$1; set --;` + bashEnd)
	// A command that is too long for an argument comes on the standard input.
	bashInput = oneLine(bashStart + `cairn_command=$(</dev/stdin); exec </dev/null; set --;` + bashEnd)
	// Where there is no bash, a command that ends by exec leaves the directory it began in.
	shArgument = oneLine(shStart + shTrap + `cairn_command=$1; set --; eval "$cairn_command"`)
	shInput    = oneLine(shStart + shTrap + `cairn_command=$(cat); exec </dev/null; set --; eval "$cairn_command"`)
	// backgroundScript writes all output to the file $5.
	backgroundScript = oneLine(`unset CAIRN_START;
		exec >"$5" 2>&1;
		cd -- "$3" 2>/dev/null || cd -- "$4" 2>/dev/null || cd /;
		cairn_command=$1; set --; eval "$cairn_command"`)
	// pythonScript starts an interpreter with the loader $5; the code is on the standard
	// input.
	pythonScript = oneLine(shStart + `exec 9>&-;
		command -v python3 >/dev/null 2>&1 || {
			echo "There is no python3 in this sandbox. Use bash, or give the agent an image that has it (environment.image).";
			exit 127; };
		exec python3 -u -X utf8 -c "$5"`)
)

// reportFD is the descriptor that bash reports through. Commands open files under
// numbers of their own choice (flock(1) shows 9, 99 and 200, bash takes 10 and on for
// itself), and what is reported must not end up in one of those.
const reportFD = 197

// reportTo is reportFD, or what bash would take itself if so high a number is not allowed.
func reportTo(files int) string {
	if files > 0 && files <= reportFD {
		return "10"
	}
	return strconv.Itoa(reportFD)
}

// argsMark is the second argument of a script: in the list of processes, it ends the
// command.
const argsMark = "# cairn"

const (
	bashStart = `unset CAIRN_START;
		cairn_fd=$5; eval "exec $5>&2 2>&1";
		cairn_dir() { [ "$BASH_SUBSHELL" != 0 ] || printf "%s\0" "$PWD" 2>/dev/null >&"$cairn_fd" || :; };
		cairn_go() {
			if builtin "$@" 2>/dev/null; then cairn_dir; return 0; fi;
			local said; said=$(builtin "$@" 2>&1 >/dev/null || :);
			printf "bash: %s\n" "${said#*: line *: }" >&2;
			return 1; };
		cd() { { local -; set +x; } 2>/dev/null; cairn_go cd "$@"; };
		pushd() { { local -; set +x; } 2>/dev/null; cairn_go pushd "$@"; };
		popd() { { local -; set +x; } 2>/dev/null; cairn_go popd "$@"; };
		builtin cd -- "$3" 2>/dev/null || builtin cd -- "$4" 2>/dev/null || builtin cd /;
		unset OLDPWD; cairn_dir;`
	bashEnd = `eval "$cairn_command"; { set -- $?; set +x; } 2>/dev/null; cairn_dir; exit "$1"`

	shStart = `unset CAIRN_START;
		exec 9>&2 2>&1;
		cd -- "$3" 2>/dev/null || cd -- "$4" 2>/dev/null || cd /;
		printf "%s\0" "$PWD" >&9;`
	shTrap = `trap "cairn_code=\$?; printf \"%s\\0\" \"\$PWD\" >&9; exit \$cairn_code" EXIT;`
)

func oneLine(script string) string {
	return strings.Join(strings.Fields(script), " ")
}

// pythonLoader runs the code as a module of its own: tracebacks show its lines, and
// nothing the loader imported is there by accident. No file is left behind.
const pythonLoader = `import linecache, os, sys, traceback, types
code = sys.stdin.buffer.read().decode("utf-8", "replace")
null = os.open(os.devnull, os.O_RDONLY)
os.dup2(null, 0)
os.close(null)
sys.stdin = open(0)
name = "<python>"
linecache.cache[name] = (len(code), None, code.splitlines(True), name)
sys.excepthook = lambda kind, value, tb: traceback.print_exception(kind, value, tb.tb_next if tb else tb)
sys.argv = ["python"]
main = types.ModuleType("__main__")
main.__builtins__ = __builtins__
sys.modules["__main__"] = main
exec(compile(code, name, "exec"), main.__dict__)
`

// pythonStart is how the interpreter's process begins.
const pythonStart = "python3 -u -X utf8 -c "

// onOneLine replaces what would end a line or move a cursor: a process names itself,
// and must not write lines that look like the runtime's.
func onOneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// maxNames bounds the processes that are named.
const maxNames = 50

// names lists processes, the first of them if there are many. A shell or an interpreter
// that was started for a call goes by what the model gave it.
func names(list []sandbox.ProcessInfo) []string {
	var all []string
	for i, p := range list {
		if i == maxNames {
			return append(all, fmt.Sprintf("and %d more", len(list)-i))
		}
		program, rest, _ := strings.Cut(p.Command, " ")
		name := path.Base(program) + " " + rest
		for _, shell := range []string{"bash", "sh"} {
			if command, ok := strings.CutPrefix(name, shell+" -c "+starter+" "+shell+" "); ok {
				command, _, _ = strings.Cut(command, " "+argsMark)
				command, _, _ = strings.Cut(strings.TrimSpace(command), "\n")
				p.Command = strings.TrimSuffix(shell+": "+command, ": ")
			}
		}
		if strings.HasPrefix(name, pythonStart) {
			p.Command = "python"
		}
		p.Command = onOneLine(p.Command)
		all = append(all, p.String())
	}
	return all
}
