package console

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/salga-trust/engine/http/client"
)

// overview is what an officer should know of today: what was decided in a period, what is
// due, and who looked at people's data.
type overview struct {
	client.ActivityBody

	Span    int // of the period, in days
	Spans   []int
	Total   tally  // without registrations
	Steps   []step // the period in parts, oldest first
	ByStep  chart
	Rates   lines
	ByCode  []purposeTally
	Reading []reading
	ByLooks chart

	// Since is when the figures began to be counted, if they still are: then there are
	// none.
	Since *time.Time

	Recipients []recipient
}

// recipient is another system, and how long withdrawals take to it.
type recipient struct {
	client.InformedBody

	P50, P99 string // empty: nothing was measured
}

// tally counts decisions.
type tally struct{ Granted, Refused, Withdrawn int64 }

func (t *tally) add(d client.DayBody) {
	t.Granted += d.Granted
	t.Refused += d.Refused
	t.Withdrawn += d.Withdrawn
}

// Rate is the share of grants among the answers to the question.
func (t tally) Rate() string { return percent(t.Granted, t.Granted+t.Refused) }

// step is a part of the period: some days, told by the first of them.
type step struct {
	From string
	tally
}

// purposeTally counts the decisions about one purpose, and its rate in each step.
type purposeTally struct {
	Purpose string
	tally
	Rates []tally
}

// reading is how often an account looked at other people's data.
type reading struct {
	client.ReaderBody
	// Unusual says that it did so far more often than the others.
	Unusual bool
}

// registration is the purpose that nobody has an account without, so that its grants say
// nothing about what people like.
const registration = "platform_registration"

// spans lists the periods that may be chosen, in days, each with the days of a step.
func spans() map[int]int { return map[int]int{30: 5, 90: 14, 360: 30} }

// Overview shows what an officer should know of today.
func (c *Console) Overview(v *Visit) error {
	span := 30
	if text := v.Value("days"); text != "" {
		chosen, err := strconv.Atoi(text)
		if _, is := spans()[chosen]; err != nil || !is {
			return faulty("days", "invalid")
		}
		span = chosen
	}

	recipients, err := v.recipients()
	if err != nil {
		return err
	}
	activity, err := v.API.Activity(v.r.Context(), &client.ActivityParams{Days: new(int64(span))})
	if refused, is := errors.AsType[*client.Error](err); is && refused.Code == client.ProblemCodeBeingCounted {
		return v.render("overview", overview{
			Span: span, Spans: slices.Sorted(maps.Keys(spans())), Since: refused.Since, Recipients: recipients,
		})
	}
	if err != nil {
		return err
	}

	v.Position = activity.Body.Position
	o := overviewOf(activity.Body, span)
	o.Recipients = recipients
	return v.render("overview", o)
}

// recipients asks how long withdrawals take to other systems.
func (v *Visit) recipients() (all []recipient, err error) {
	found, err := v.API.Propagation(v.r.Context(), nil)
	if err != nil {
		return nil, err
	}

	for _, r := range found.Body.Items {
		one := recipient{InformedBody: r}
		if r.P50Ms != nil && r.P99Ms != nil {
			one.P50, one.P99 = lasted(*r.P50Ms), lasted(*r.P99Ms)
		}
		all = append(all, one)
	}
	return all, nil
}

// lasted writes a time in milliseconds in the unit that fits, by symbols that are the
// same in all languages.
func lasted(ms int64) string {
	took := time.Duration(ms) * time.Millisecond
	switch {
	case took < time.Minute:
		return strconv.FormatFloat(took.Seconds(), 'f', 2, 64) + " s"
	case took < time.Hour:
		return strconv.FormatFloat(took.Minutes(), 'f', 1, 64) + " min"
	default:
		return strconv.FormatFloat(took.Hours(), 'f', 1, 64) + " h"
	}
}

func overviewOf(a client.ActivityBody, span int) overview {
	o := overview{ActivityBody: a, Span: span, Spans: slices.Sorted(maps.Keys(spans()))}
	o.Steps = stepsOf(a.From, span, spans()[span])

	byCode := map[string]*purposeTally{}
	for _, d := range a.Days {
		p := byCode[d.Purpose]
		if p == nil {
			p = &purposeTally{Purpose: d.Purpose, Rates: make([]tally, len(o.Steps))}
			byCode[d.Purpose] = p
		}

		if d.Purpose != registration {
			o.Total.add(d)
		}
		p.add(d)
		if i := stepAt(o.Steps, d.Day); i >= 0 {
			o.Steps[i].add(d)
			p.Rates[i].add(d)
		}
	}

	for _, p := range byCode {
		o.ByCode = append(o.ByCode, *p)
	}
	slices.SortFunc(o.ByCode, func(a, b purposeTally) int {
		return cmp.Or(cmp.Compare(b.Granted+b.Refused, a.Granted+a.Refused), cmp.Compare(a.Purpose, b.Purpose))
	})

	for _, s := range o.Steps {
		o.ByStep.Bars = append(o.ByStep.Bars, bar{Label: s.From, Parts: []int64{s.Granted, s.Refused, s.Withdrawn}})
	}
	o.ByStep = o.ByStep.drawn()
	o.Rates = ratesOf(o.ByCode, o.Steps)
	o.Reading, o.ByLooks = readingOf(a.Readers)
	return o
}

// stepsOf divides a period into steps of some days.
func stepsOf(from string, span, days int) []step {
	first, err := time.Parse(time.DateOnly, from)
	if err != nil {
		return nil
	}
	var steps []step
	for day := 0; day < span; day += days {
		steps = append(steps, step{From: first.AddDate(0, 0, day).Format(time.DateOnly)})
	}
	return steps
}

// stepAt returns the step that a day belongs to; dates are in order as texts.
func stepAt(steps []step, day string) int {
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i].From <= day {
			return i
		}
	}
	return -1
}

// mostLines is how many lines of a chart can be told apart in grey.
const mostLines = 3

// ratesOf draws the rates of the purposes with the most answers.
func ratesOf(purposes []purposeTally, steps []step) lines {
	var l lines
	for _, s := range steps {
		l.Labels = append(l.Labels, s.From)
	}
	for _, p := range purposes[:min(len(purposes), mostLines)] {
		one := line{Label: p.Purpose}
		for _, t := range p.Rates {
			share := -1 // nobody answered
			if answers := t.Granted + t.Refused; answers > 0 {
				share = int(100 * t.Granted / answers)
			}
			one.Shares = append(one.Shares, share)
		}
		l.Lines = append(l.Lines, one)
	}
	return l.drawn()
}

// An account is unusual if it looked at least so often, and so many times as often as the
// account in the middle.
const (
	unusualLooks = 20
	unusualTimes = 4
)

// readingOf tells which accounts stand out, and draws the first of them.
func readingOf(readers []client.ReaderBody) (all []reading, drawn chart) {
	if len(readers) == 0 {
		return nil, drawn
	}

	middle := max(1, readers[len(readers)/2].Looks)
	for i, r := range readers {
		unusual := len(readers) > 1 && r.Looks >= unusualLooks && r.Looks >= unusualTimes*middle
		all = append(all, reading{ReaderBody: r, Unusual: unusual})
		if i < 10 {
			drawn.Bars = append(drawn.Bars, bar{Label: short(r.Actor), Parts: []int64{r.Looks}})
		}
	}
	return all, drawn.drawn()
}
