package schema

const (
	secondMicros = 1_000_000
	dayMicros    = 86400 * secondMicros
)

// floorDiv is a/b rounded down, for positive b.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// daysFromCivil is the day of the proleptic Gregorian calendar as days since
// 1970-01-01, for years from 0. (Howard Hinnant's days_from_civil: the year
// starts in March, so that the leap day is its last.)
func daysFromCivil(y, m, d int) int32 {
	if m <= 2 {
		y--
		m += 12
	}
	era := y / 400
	if y < 0 {
		era = (y - 399) / 400
	}
	yoe := y - era*400
	doy := (153*(m-3)+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int32(era*146097 + doe - 719468)
}

// daysIn is the number of days of a month.
func daysIn(y, m int) int {
	switch m {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}
