package skelgen

import "github.com/rules-bpf/rules_bpf/internal/secdef"

// baseProgram is the type of the handles without a kind. Their fields point to what the
// runtime makes.
const baseProgram = "BaseProgram"

// programHandle returns the type of the handle for a program of the section, which
// has the methods that attach such a program, and what is worth saying of the section.
func programHandle(section string) (handle, note string) {
	if form, _, ok := secdef.Find(section); ok {
		return form.Handle, ""
	}
	if legacy, ok := secdef.FindLegacy(section); ok {
		return legacy.Form.Handle, ", taken for SEC(\"" + legacy.Today + "\")"
	}
	// A section of the user's own.
	return baseProgram, ", which gives it no type: call SetType before Load"
}
