package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// row is one line of the table.
type row struct {
	Figure   string  `json:"figure"` // name of what it belongs to
	Name     string  `json:"name"`
	Measured float64 `json:"measured"`
	Unit     string  `json:"unit"`
	// Low and High are the extremes of the rounds.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// Beside is the raw device in the same run, or what else it compares with.
	Beside *beside `json:"beside,omitempty"`
	// Ratio is Measured divided by Beside; zero: there is nothing beside it.
	Ratio float64 `json:"ratio,omitzero"`
	Goal  *goal   `json:"goal,omitempty"`
	// Met says whether the goal was met; nil: there is none at this size.
	Met *bool `json:"met,omitempty"`
}

type beside struct {
	What  string  `json:"what"`
	Value float64 `json:"value"` // in the unit of the row
}

// goal is a bound of what is measured, or of its ratio.
type goal struct {
	Limit   float64 `json:"limit"`
	Least   bool    `json:"least,omitzero"` // at least, else at most
	OfRatio bool    `json:"of_ratio,omitzero"`
	// Exact: any other value is wrong.
	Exact bool `json:"exact,omitzero"`
}

func (g *goal) met(r row) bool {
	v := r.Measured
	if g.OfRatio {
		v = r.Ratio
	}
	switch {
	case g.Exact:
		return math.Abs(v-g.Limit) < 1e-9
	case g.Least:
		return v >= g.Limit
	}
	return v <= g.Limit
}

func (g *goal) text(unit string) string {
	sign := "≤ "
	switch {
	case g.Exact:
		sign = ""
	case g.Least:
		sign = "≥ "
	}
	if g.OfRatio {
		return sign + short(g.Limit) + "x"
	}
	return sign + short(g.Limit) + " " + unit
}

func atMost(limit float64) *goal  { return &goal{Limit: limit} }
func atLeast(limit float64) *goal { return &goal{Limit: limit, Least: true} }
func exactly(limit float64) *goal { return &goal{Limit: limit, Exact: true} }

// goalIf leaves a goal out when a figure is measured at another size than the
// goal is set for.
func goalIf(fits bool, g *goal) *goal {
	if !fits {
		return nil
	}
	return g
}

// report is all that is printed.
type report struct {
	Machine facts `json:"machine"`
	Size    size  `json:"size"`
	Rounds  int   `json:"rounds"`
	Figures []row `json:"figures"`
}

// facts say where the figures were measured.
type facts struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	CPU  string `json:"cpu,omitzero"`
	Go   string `json:"go"`
	FS   string `json:"fs,omitzero"`
}

func machine(dir string) facts {
	return facts{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0), CPU: cpuModel(),
		Go: runtime.Version(), FS: fileSystem(dir),
	}
}

// medians joins the rounds of a figure. All have the same rows.
func medians(figure string, rounds [][]row) []row {
	var out []row
	for i, first := range rounds[0] {
		r := first
		r.Figure = figure
		column := func(of func(row) float64) []float64 {
			var all []float64
			for _, rows := range rounds {
				all = append(all, of(rows[i]))
			}
			slices.Sort(all)
			return all
		}
		measured := column(func(r row) float64 { return r.Measured })
		r.Measured, r.Low, r.High = median(measured), measured[0], measured[len(measured)-1]
		if r.Beside != nil {
			r.Beside = &beside{r.Beside.What, median(column(func(r row) float64 { return r.Beside.Value }))}
			// Of each round with its own device: what else the machine did falls out.
			r.Ratio = median(column(func(r row) float64 { return r.Measured / r.Beside.Value }))
		}
		if r.Goal != nil {
			met := r.Goal.met(r)
			r.Met = &met
		}
		out = append(out, r)
	}
	return out
}

// median of values in order.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// quantile of values in order.
func quantile[T any](sorted []T, q float64) T { return sorted[int(q*float64(len(sorted)-1))] }

// short prints three digits or so.
func short(v float64) string {
	a := math.Abs(v)
	switch {
	case a >= 1000:
		s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case a >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func (r *report) print(out io.Writer) error {
	m := r.Machine
	about := []string{m.OS + "/" + m.Arch, fmt.Sprintf("%d CPUs", m.CPUs)}
	for _, s := range []string{m.CPU, m.FS, m.Go} {
		if s != "" {
			about = append(about, s)
		}
	}
	rounds := "one round"
	if r.Rounds > 1 {
		rounds = fmt.Sprintf("medians of %d rounds", r.Rounds)
	}
	fmt.Fprintf(out, "%s; %s, synchronous=FULL\n\n", strings.Join(about, ", "), rounds)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tmeasured\tunit\tlowest–highest\tbeside\tratio\tgoal\tmet")
	for _, f := range r.Figures {
		var spread, next, ratio, goal, met string
		if r.Rounds > 1 {
			spread = short(f.Low) + "–" + short(f.High)
		}
		if f.Beside != nil {
			next, ratio = f.Beside.What+": "+short(f.Beside.Value), short(f.Ratio)
		}
		if f.Goal != nil {
			goal, met = f.Goal.text(f.Unit), "no"
			if *f.Met {
				met = "yes"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Name, short(f.Measured), f.Unit, spread, next, ratio, goal, met)
	}
	return w.Flush()
}
