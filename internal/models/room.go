package models

// compactAt is the part of the room that a conversation fills when it is compacted: the
// next reply and its results still fit.
const compactAt = 0.8

// Room is how many tokens of a window a conversation may have: what a reply may need is
// kept free, but no more than a quarter.
func Room(window, maxOutput int) int64 {
	reserve := maxOutput
	if reserve <= 0 || reserve > window/4 {
		reserve = window / 4
	}
	return int64(window - reserve)
}

// Compacts reports whether a run compacts a conversation of so many tokens before it asks
// a model with this window.
func Compacts(tokens int64, window, maxOutput int) bool {
	return window > 0 && tokens > int64(compactAt*float64(Room(window, maxOutput)))
}
