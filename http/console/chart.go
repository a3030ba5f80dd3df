package console

import (
	"slices"
	"strconv"
)

// chart is a chart of horizontal bars, each with one or more parts. Beside it stands a
// table with the same figures, so it may leave out what does not fit.
type chart struct {
	Bars []bar

	// Set by drawn: sizes in the units of its viewBox.
	Height, AxisBottom, Middle int
	Most, Half                 string
	MostX, HalfX               int
	OriginX                    int
}

// bar is one bar of a chart.
type bar struct {
	Label string
	Parts []int64

	// Set by drawn.
	Y, TextY int
	Drawn    []barPart
}

// barPart is a part of a bar, as it is drawn. Its series says how it is filled.
type barPart struct{ X, Y, Width, Height, Series int }

// Sizes of a chart, in the units of its viewBox.
const (
	chartWidth  = 720
	chartOrigin = 190 // where bars begin: left of it stand their labels
	chartRoom   = 480 // for the longest bar
	barStep     = 34
	barHeight   = 22
)

// drawn returns the chart with its sizes.
func (c chart) drawn() chart {
	most := int64(1)
	for _, b := range c.Bars {
		most = max(most, b.total())
	}

	for i := range c.Bars {
		b := &c.Bars[i]
		b.Y = 10 + i*barStep
		b.TextY = b.Y + barHeight - 6
		x := chartOrigin
		for series, part := range b.Parts {
			width := int(part * chartRoom / most)
			if part > 0 {
				width = max(width, 1) // what there is can be seen
			}
			b.Drawn = append(b.Drawn, barPart{X: x, Y: b.Y, Width: width, Height: barHeight, Series: series + 1})
			x += width
		}
	}

	c.OriginX, c.HalfX, c.MostX = chartOrigin, chartOrigin+chartRoom/2, chartOrigin+chartRoom
	c.AxisBottom = 10 + len(c.Bars)*barStep
	c.Height, c.Middle = c.AxisBottom+30, c.AxisBottom+20
	c.Most = strconv.FormatInt(most, 10)
	if most%2 == 0 {
		c.Half = strconv.FormatInt(most/2, 10)
	}
	return c
}

func (b bar) total() (sum int64) {
	for _, part := range b.Parts {
		sum += part
	}
	return sum
}

// lines is a chart of shares over time, in percent.
type lines struct {
	Labels []string // of the points, oldest first
	Lines  []line

	// Set by drawn.
	Ticks []tick
}

// line is one line of a chart.
type line struct {
	Label  string
	Shares []int // in percent; -1: none

	// Set by drawn.
	Series int
	Runs   []string // the points of each unbroken part
	Dots   []dot
	LabelX int
	LabelY int
}

type dot struct{ X, Y int }

type tick struct {
	X     int
	Label string
}

// Sizes of a chart of lines, in the units of its viewBox.
const (
	linesLeft, linesRight = 60, 560 // right of it stand the names
	linesTop, linesBottom = 20, 200
)

// drawn returns the chart with its sizes. Where nobody answered, the line is broken.
func (l lines) drawn() lines {
	steps := max(1, len(l.Labels)-1)
	at := func(i, share int) dot {
		return dot{
			X: linesLeft + i*(linesRight-linesLeft)/steps, Y: linesBottom - share*(linesBottom-linesTop)/100,
		}
	}
	for i, label := range l.Labels {
		if i%max(1, len(l.Labels)/6) == 0 {
			l.Ticks = append(l.Ticks, tick{X: at(i, 0).X, Label: label})
		}
	}

	for i := range l.Lines {
		one := &l.Lines[i]
		one.Series = i + 1
		run := ""
		for step, share := range one.Shares {
			if share < 0 {
				one.Runs, run = append(one.Runs, run), ""
				continue
			}
			d := at(step, share)
			run += strconv.Itoa(d.X) + "," + strconv.Itoa(d.Y) + " "
			one.Dots = append(one.Dots, d)
			one.LabelX, one.LabelY = linesRight+12, d.Y+5
		}
		one.Runs = append(one.Runs, run)
	}
	l.spreadLabels()
	return l
}

// spreadLabels keeps the names of lines that end close together from covering each other.
func (l lines) spreadLabels() {
	const apart = 18
	order := make([]*line, 0, len(l.Lines))
	for i := range l.Lines {
		order = append(order, &l.Lines[i])
	}
	slices.SortStableFunc(order, func(a, b *line) int { return a.LabelY - b.LabelY })
	for i := 1; i < len(order); i++ {
		order[i].LabelY = max(order[i].LabelY, order[i-1].LabelY+apart)
	}
}
