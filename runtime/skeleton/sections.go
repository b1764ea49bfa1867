package skeleton

import (
	"github.com/rules-bpf/rules_bpf/internal/secdef"
)

// sectionForm returns the form of SEC() of a section's name, and the target
// it names. It is nil for a section of the user's own. Legacy names, of which loaders used to
// match only the beginning, are accepted: bpfgen generates no code for them unless the user
// allows it.
func sectionForm(section string) (*secdef.Form, string) {
	if form, target, ok := secdef.Find(section); ok {
		return form, target
	}
	if legacy, ok := secdef.FindLegacy(section); ok {
		return legacy.Form, ""
	}
	return nil, ""
}
