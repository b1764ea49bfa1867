package loader

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// createExclusive makes the maps that are for one program each.
func (l *load) createExclusive(maps []*Map) error {
	if len(maps) == 0 {
		return nil
	}
	if err := l.hashPrograms(maps); err != nil {
		return err
	}
	for _, m := range maps {
		if err := l.createMap(m); err != nil {
			return &MapError{Map: m, Err: err}
		}
	}
	return nil
}

// hashPrograms computes the hashes of the programs that maps are exclusive to. All other maps
// exist by now, and all else that code refers to.
func (l *load) hashPrograms(maps []*Map) error {
	for _, m := range maps {
		if p := m.Exclusive; !slices.Contains(l.selected, p) {
			return &MapError{Map: m, Err: fmt.Errorf("it is for program %s, which is not to be loaded: call its SetAutoload(true), or SetExclusiveProgram(nil)", p.Name)}
		}
	}
	l.hashing = true
	defer func() { l.hashing = false }()
	code, err := l.assemble()
	if err != nil {
		return err
	}
	l.hashes = make(map[*Program][]byte)
	for _, m := range maps {
		if p := m.Exclusive; l.hashes[p] == nil {
			if l.hashes[p], err = code.hash(p); err != nil {
				return &ProgramError{Program: p, Err: err}
			}
		}
	}
	return nil
}

// hash returns the hash by which the kernel identifies a program: that of its code, without the
// descriptors of maps (bpf_prog_calc_tag).
func (c *code) hash(p *Program) ([]byte, error) {
	k := linker{code: c}
	k.link(p)
	insns := bytes.Clone(k.insns)
	for _, use := range k.tables {
		ins := insnAt(insns, use.at)
		ins.setSrc(pseudoMapValue)
		ins.setOff(0)
	}
	for at := uint32(0); int(at) < len(insns)/insnSize; at++ {
		ins := insnAt(insns, at)
		if ins.op() != opLoad64 {
			continue
		}
		if !ins.isLoad64() {
			return nil, errors.New("its code ends in half an instruction")
		}
		if src := ins.src(); src == pseudoMapFD || src == pseudoMapValue {
			ins.setImm64(0)
		}
		at++
	}
	sum := sha256.Sum256(insns)
	return sum[:], nil
}
