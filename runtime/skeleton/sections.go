package skeleton

import (
	"github.com/rules-bpf/rules_bpf/internal/secdef"
)

// sectionForm returns what the name of a section says of its programs, and the target
// that it names. It is nil for a section of the user's own. Names of the kind that
// loaders used to take by their prefix count: where the user does not allow them, no
// code is generated.
func sectionForm(section string) (*secdef.Form, string) {
	if form, target, ok := secdef.Find(section); ok {
		return form, target
	}
	if legacy, ok := secdef.FindLegacy(section); ok {
		return legacy.Form, ""
	}
	return nil, ""
}
