package chat

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// layouts are the codes of strftime that have a layout in Go.
var layouts = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'B': "January", 'b': "Jan", 'h': "Jan",
	'A': "Monday", 'a': "Mon", 'y': "06", 'I': "03", 'p': "PM", 'P': "pm", 'j': "002", 'F': "2006-01-02",
	'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'e': "_2", 'c': "Mon Jan _2 15:04:05 2006",
	'x': "01/02/06", 'X': "15:04:05", 'r': "03:04:05 PM", 'f': "000000",
}

// strftime formats a time as Python does on Linux, where a time without a zone has
// an empty one. A code that is none stays as it is.
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		start, flag := i, byte(0)
		if i++; strings.IndexByte("-_0^#", format[i]) >= 0 && i+1 < len(format) {
			flag = format[i]
			i++
		}
		text, ok := timeCode(t, format[i])
		if !ok {
			text, flag = format[start:i+1], 0
		}
		b.WriteString(flagged(text, flag))
	}
	return b.String()
}

// flagged is a text as a flag of strftime wants it.
func flagged(text string, flag byte) string {
	digits := strings.TrimLeft(text, "0 ")
	switch {
	case flag == '^' || flag == '#':
		return strings.ToUpper(text)
	case flag == 0 || text == "" || text[0] > '9':
		return text
	case digits == "":
		digits = "0"
	}
	pad := strings.Repeat(map[byte]string{'_': " ", '0': "0"}[flag], max(0, len(text)-len(digits)))
	return pad + digits
}

func timeCode(t time.Time, c byte) (string, bool) {
	if layout, ok := layouts[c]; ok {
		if c == 'f' {
			return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
		}
		return t.Format(layout), true
	}
	switch c {
	case '%':
		return "%", true
	case 'n':
		return "\n", true
	case 't':
		return "\t", true
	case 'Z', 'z':
		return "", true
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100), true
	case 'k':
		return fmt.Sprintf("%2d", t.Hour()), true
	case 'l':
		return fmt.Sprintf("%2d", (t.Hour()+11)%12+1), true
	case 's':
		return strconv.FormatInt(t.Unix(), 10), true
	case 'w':
		return strconv.Itoa(int(t.Weekday())), true
	case 'u':
		return strconv.Itoa((int(t.Weekday())+6)%7 + 1), true
	}
	return week(t, c)
}

// week are the codes that count weeks.
func week(t time.Time, c byte) (string, bool) {
	year, iso := t.ISOWeek()
	switch c {
	case 'G':
		return strconv.Itoa(year), true
	case 'g':
		return fmt.Sprintf("%02d", year%100), true
	case 'V':
		return fmt.Sprintf("%02d", iso), true
	case 'U':
		return fmt.Sprintf("%02d", (t.YearDay()+6-int(t.Weekday()))/7), true
	case 'W':
		return fmt.Sprintf("%02d", (t.YearDay()+6-(int(t.Weekday())+6)%7)/7), true
	}
	return "", false
}
