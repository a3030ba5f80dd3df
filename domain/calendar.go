package domain

import (
	"time"
)

// Date is a day, as 2026-12-24.
type Date string

const dateForm = "2006-01-02"

// requestDays is how many days a request may take.
const requestDays = 30

// southAfrica is UTC+2 all year.
func southAfrica() *time.Location { return time.FixedZone("SAST", 2*60*60) }

// DateOf returns the day in South Africa at an instant.
func DateOf(at time.Time) Date { return Date(at.In(southAfrica()).Format(dateForm)) }

// AddDays returns the day so many days later; of what is no date it returns the zero
// Date.
func (d Date) AddDays(n int) Date {
	begins := d.Begins()
	if begins.IsZero() {
		return ""
	}
	return DateOf(begins.AddDate(0, 0, n))
}

// Begins returns the instant at which the day begins in South Africa; of what is no date
// it returns the zero time.
func (d Date) Begins() time.Time {
	at, err := time.ParseInLocation(dateForm, string(d), southAfrica())
	if err != nil {
		return time.Time{}
	}
	return at
}

// DueDate returns the day by which a request lodged at an instant must be answered: the
// 30th calendar day after it in South Africa or, if that is a Sunday or a public holiday,
// the next day that is neither (Interpretation Act 33 of 1957, s4; POPIA regulations).
func DueDate(lodged time.Time) Date {
	day := lodged.In(southAfrica()).AddDate(0, 0, requestDays)
	for day.Weekday() == time.Sunday || isPublicHoliday(day) {
		day = day.AddDate(0, 0, 1)
	}
	return Date(day.Format(dateForm))
}

// isPublicHoliday reports whether a day is a holiday of the Public Holidays Act 36 of
// 1994: a fixed day, the Monday after one that fell on a Sunday (s2(1)), Good Friday or
// Family Day. Days that a president declares for one year only are not known.
func isPublicHoliday(day time.Time) bool {
	if isFixedHoliday(day) {
		return true
	}
	if day.Weekday() == time.Monday && isFixedHoliday(day.AddDate(0, 0, -1)) {
		return true
	}

	easter := easterSunday(day.Year())
	date := day.Format(dateForm)
	return date == easter.AddDate(0, 0, -2).Format(dateForm) || date == easter.AddDate(0, 0, 1).Format(dateForm)
}

func isFixedHoliday(day time.Time) bool {
	switch day.Format("01-02") {
	case "01-01", // New Year's Day
		"03-21", // Human Rights Day
		"04-27", // Freedom Day
		"05-01", // Workers' Day
		"06-16", // Youth Day
		"08-09", // National Women's Day
		"09-24", // Heritage Day
		"12-16", // Day of Reconciliation
		"12-25", // Christmas Day
		"12-26": // Day of Goodwill
		return true
	default:
		return false
	}
}

// easterSunday computes Easter by the anonymous Gregorian algorithm (Meeus, Jones,
// Butcher).
func easterSunday(year int) time.Time {
	a, b, c := year%19, year/100, year%100
	d, e := b/4, b%4
	f := (b + 8) / 25
	g := (b - f + 1) / 3
	h := (19*a + b - d - g + 15) % 30
	i, k := c/4, c%4
	l := (32 + 2*e + 2*i - h - k) % 7
	m := (a + 11*h + 22*l) / 451

	month, day := (h+l-7*m+114)/31, (h+l-7*m+114)%31+1
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, southAfrica())
}
