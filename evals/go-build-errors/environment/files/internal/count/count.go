// Package count counts.
package count

// Counts are those of a text.
type Counts struct{ Lines, Words, Bytes int }

// Of counts the newlines, the words between white space, and the bytes of data.
func Of(data []byte) Counts {
	var c Counts
	inWord := false
	for i, b := range data {
		if b == "\n" {
			c.Lines++
		}
		space := b == ' ' || b == '\n' || b == '\t'
		if !space && !inWord {
			c.Words++
		}
		inWord := !space
	}
	return c
}
