package ring

// unaligned reports whether the machine loads words from any address.
const unaligned = true

// storeRelease stores after all that was read and written before. On this machine every store
// does that, and the compiler moves no access over one. A store of sync/atomic is a full
// barrier as well, which takes longer than all else that is done for a record.
func storeRelease(p *uint64, v uint64) { *p = v }
