package bpfc

// words is a set of names that may say yes for a name it does not have: most
// names of a file are neither keywords nor macros, and that is to be found out
// fast.
type words [32]uint64

func wordHash(name string) uint32 {
	n := len(name)
	if n == 0 {
		return 0
	}
	return (uint32(name[0])*7 + uint32(name[n/2])*211 + uint32(name[n-1])*61 + uint32(n)*1031) % (32 * 64)
}

func (w *words) add(name string) {
	h := wordHash(name)
	w[h/64] |= 1 << (h % 64)
}

func (w *words) mayHave(name string) bool {
	h := wordHash(name)
	return w[h/64]&(1<<(h%64)) != 0
}

func wordsOf(sets ...map[string]bool) *words {
	w := new(words)
	for _, set := range sets {
		for name := range set {
			w.add(name)
		}
	}
	return w
}

// reserved has the names that the language gives a meaning.
var reserved = wordsOf(keywords, operandWords, unevaluated)

func isKeyword(name string) bool { return reserved.mayHave(name) && keywords[name] }
