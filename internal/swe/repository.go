package swe

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

//go:embed prepared
var prepared embed.FS

// project is what trajectories of one task have in common.
type project struct {
	name string
	// repository says that it is a coding task: submit shows the difference.
	repository bool
	// whole says that the recordings show all of the files that change.
	whole bool
	// packages says that its Python programs import what only the recorded machine had.
	packages bool
	// heads are the prepared beginnings of files that are shown in part, and stubs
	// whole files, by path.
	heads, stubs map[string]string
	empty        []string // files of which only the name is known
	executable   []string
}

// projects by a part of the recorded folder's name. Names of files are from what
// ls and find_file showed.
var projects = []struct {
	part string
	project
}{
	{"test-repo", project{
		name: "test-repo", repository: true, whole: true, executable: []string{"tests/missing_colon.py"},
		empty: []string{
			"README.md", "pyproject.toml", "problem_statements/1.md", "problem_statements/22.md", "src/testpkg/__init__.py",
			"tests/existing_lint_error.py", "tests/filetoread.txt", "tests/test_tribonaccy.py",
		},
	}},
	{"humanevalfix", project{name: "humanevalfix", repository: true, whole: true}},
	{"marshmallow", marshmallow},
	{"testbed", marshmallow},
	{"pydicom", project{
		name: "pydicom", repository: true,
		heads: map[string]string{"pydicom/pixel_data_handlers/numpy_handler.py": "pydicom/numpy_handler_head.py"},
		stubs: map[string]string{"pydicom/dataset.py": "pydicom/dataset.py", "numpy.py": "pydicom/numpy.py"},
		empty: []string{
			"pydicom/__init__.py", "pydicom/overlays/__init__.py", "pydicom/overlays/numpy_handler.py",
			"pydicom/pixel_data_handlers/__init__.py", "pydicom/waveforms/__init__.py", "pydicom/waveforms/numpy_handler.py",
		},
	}},
	{"Katy", project{name: "katy", packages: true, empty: []string{"release"}}},
	{"WarmUp", project{name: "warmup", packages: true, empty: []string{"warmup"}}},
	{"Networking-1", project{name: "networking", empty: []string{"networking.pcap"}}},
	{"Rock", project{name: "rock", executable: []string{"rock"}}},
}

var marshmallow = project{
	name: "marshmallow", repository: true,
	heads: map[string]string{"src/marshmallow/fields.py": "marshmallow/fields_head.py"},
	empty: []string{
		"AUTHORS.rst", "CHANGELOG.rst", "CODE_OF_CONDUCT.md", "CONTRIBUTING.rst", "LICENSE", "MANIFEST.in", "NOTICE", "README.rst",
		"RELEASING.md", "azure-pipelines.yml", "docs/index.rst", "examples/flask_example.py", "performance/benchmark.py",
		"pyproject.toml", "setup.cfg", "src/marshmallow/__init__.py", "tests/__init__.py", "tox.ini",
	},
}

func kindOf(t *Trajectory) project {
	for _, p := range projects {
		if strings.Contains(t.Root, p.part) {
			return p.project
		}
	}
	return project{name: t.Name}
}

// File is one file of a prepared repository.
type File struct {
	Path       string
	Content    []byte
	Executable bool
}

// Repository makes the files that a trajectory begins with: what it and the others
// of its task show of them before they change them, and something plausible where
// nothing was shown.
func Repository(t *Trajectory, all []Trajectory) ([]File, error) {
	p := kindOf(t)
	known := map[string]*window{}
	files := map[string][]byte{}
	for i := range all {
		if kindOf(&all[i]).name == p.name {
			all[i].known(known)
		}
	}
	for name, w := range known {
		head := ""
		if from := p.heads[name]; from != "" {
			b, err := prepared.ReadFile("prepared/" + from)
			if err != nil {
				return nil, err
			}
			head = string(b)
		}
		content, err := w.file(head)
		if err != nil {
			return nil, fmt.Errorf("swe: %s of %s: %w", name, p.name, err)
		}
		files[name] = content
	}
	for name, from := range p.stubs {
		b, err := prepared.ReadFile("prepared/" + from)
		if err != nil {
			return nil, err
		}
		files[name] = b
	}
	if err := t.challenge(files); err != nil {
		return nil, err
	}
	for _, name := range p.empty {
		if _, ok := files[name]; !ok {
			files[name] = nil
		}
	}
	var out []File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out = append(out, File{Path: name, Content: files[name], Executable: slices.Contains(p.executable, name)})
	}
	return out, nil
}

// known adds the lines that the trajectory shows of files before it changes them.
func (t *Trajectory) known(known map[string]*window) {
	d := &decider{t: t}
	changed := map[string]bool{}
	for _, s := range t.Steps {
		c, ok := parse(s.Action)
		if !ok {
			continue
		}
		if len(c.args) == 0 && c.name != "edit" {
			continue
		}
		until := 0 // lines from here on may be new
		switch c.name {
		case "create":
			d.open = d.within(c.args[0])
			changed[d.open] = true
			continue
		case "open":
			d.open = d.within(c.args[0])
		case "edit", "insert":
			if strings.Contains(s.Observation, "have NOT been applied") {
				continue
			}
			until = c.from
		default:
			continue
		}
		w, ok := shown(s.Observation)
		if name := strings.TrimPrefix(d.open, Root+"/"); ok && !changed[d.open] {
			k := known[name]
			if k == nil {
				k = &window{total: w.total, lines: map[int]string{}}
				known[name] = k
			}
			for n, l := range w.lines {
				if c.name == "open" || n < until {
					k.lines[n] = l
				}
			}
		}
		changed[d.open] = changed[d.open] || c.name != "open"
	}
}

// file is the whole of a file of which lines are known; the lines before them end
// with head.
func (w *window) file(head string) ([]byte, error) {
	numbers := slices.Sorted(maps.Keys(w.lines))
	if len(numbers) == 0 {
		return nil, nil
	}
	var before []string
	if head != "" {
		before = strings.Split(strings.TrimSuffix(head, "\n"), "\n")
	}
	if len(before) >= numbers[0] {
		return nil, fmt.Errorf("its prepared head has %d lines, and line %d is known", len(before), numbers[0])
	}
	var b bytes.Buffer
	for n := 1; n <= w.total; n++ {
		if at := n - numbers[0] + len(before); at >= 0 && at < len(before) {
			b.WriteString(before[at])
		} else {
			b.WriteString(w.lines[n])
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// challenge adds what can be told of the files of a challenge from what its
// commands printed.
func (t *Trajectory) challenge(files map[string][]byte) error {
	p := kindOf(t)
	if p.repository {
		return nil
	}
	for i, s := range t.Steps {
		name, rest, _ := strings.Cut(s.Action, " ")
		switch {
		case name == "cat":
			files[rest] = []byte(s.Observation)
		case name == "unzip":
			// What strings finds in the image is what it found then.
			var b bytes.Buffer
			z := zip.NewWriter(&b)
			f, err := z.CreateHeader(&zip.FileHeader{Name: strings.TrimSuffix(rest, ".zip") + ".img", Method: zip.Deflate})
			if err == nil && i+1 < len(t.Steps) {
				_, err = io.WriteString(f, t.Steps[i+1].Observation+"\n")
			}
			if err == nil {
				err = z.Close()
			}
			if err != nil {
				return err
			}
			files[rest] = b.Bytes()
		case strings.HasSuffix(s.Action, "| ./rock"):
			// It waits for a line for ever, and says what it said then.
			files["rock"] = []byte("#!/bin/sh\nIFS= read -r line || exec sleep 3600\ncat <<'END'\n" + s.Observation + "\nEND\n")
		case s.Action == "python decrypt.py" && files["chall.py"] != nil && strings.Contains(s.Observation, "{"):
			// The last thing it prints is the secret; chall.py says how msg.enc was made of it.
			secret := []byte(s.Observation)
			for i, b := range secret {
				secret[i] = byte((123*int(b) + 18) % 256)
			}
			files["msg.enc"] = []byte(hex.EncodeToString(secret))
		}
	}
	return nil
}

// Tar writes files as a tar stream that is the same for the same files.
func Tar(w io.Writer, files []File) error {
	t := tar.NewWriter(w)
	made := map[string]bool{".": true}
	var folder func(string) error
	folder = func(dir string) error {
		if made[dir] {
			return nil
		}
		made[dir] = true
		if err := folder(path.Dir(dir)); err != nil {
			return err
		}
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
	}
	for _, f := range files {
		if err := folder(path.Dir(f.Path)); err != nil {
			return err
		}
		mode := int64(0o644)
		if f.Executable {
			mode = 0o755
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: mode, Size: int64(len(f.Content)), ModTime: time.Unix(0, 0)}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.Content); err != nil {
			return err
		}
	}
	return t.Close()
}
