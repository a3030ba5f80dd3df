package main

import "strings"

// target is a figure that this store set out to reach.
type target struct {
	what  string
	least float64 // that got must return
	unit  string
	got   func(r *report) (float64, bool)
}

// targets are checked at each run, and the page says which are missed.
func targets() []target {
	against := func(work, other string) func(r *report) (float64, bool) {
		return func(r *report) (float64, bool) { return r.rates(work, oursName, work, other) }
	}

	return []target{
		{
			"append, 1 caller, against one INSERT transaction per event", 0.9, "×",
			against("append, 1 caller", baselineName),
		},
		{
			"append, 64 callers, against one INSERT transaction per event", 4, "×",
			against("append, 64 callers", baselineName),
		},
		{"append, 256 callers, against COPY of 1 000", 0.4, "×", against("append, 256 callers", bareCopy().name)},
		{"read in order, against a bare scan", 0.8, "×", against("read ", baselineName)},
		{"project, against the bare unnest of 1 000", 1, "×", against("project ", baselineName)},
		{"project, against stock watermill-sql", 10, "×", against("project ", watermillStock().name)},
		{"append → visible, half of them, against bare NOTIFY and read", 0.5, "×", func(r *report) (float64, bool) {
			m := r.work("append → visible")
			own := m.side(oursName)
			return own.Ratio, own.Ratio > 0
		}},
		{
			"consents over HTTP, 64 clients, against our own append with 64 callers", 0.25, "×",
			func(r *report) (float64, bool) {
				return r.rates("HTTP create, 64", oursName, "append, 64 callers", oursName)
			},
		},
	}
}

// work returns the first work whose name has a prefix, or an empty one if there is none.
func (r *report) work(begins string) measured {
	for _, m := range r.Works {
		if strings.HasPrefix(m.Work, begins) {
			return m
		}
	}
	return measured{}
}

// rates divides one side's rate by another's.
func (r *report) rates(work, name, otherWork, other string) (float64, bool) {
	a, b := r.work(work).side(name).Rate, r.work(otherWork).side(other).Rate
	if a == 0 || b == 0 {
		return 0, false
	}
	return a / b, true
}
