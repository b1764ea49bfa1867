package image

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// # Format
//
// An image is a header, a table of parts and the parts, in this order and without gaps.
// All numbers are in the byte order of the object. docs/architecture.md has the numbers.

// magic is what images begin with.
const magic = "BPFimage"

// Version is the one number of the contract between generated code and runtime: the form
// of the image, and what the code calls. A change that makes code of an older bpfgen wrong,
// or code of this one wrong for an older runtime, has a new one. A new part that readers
// can skip, or must not, is no such change: its flag says so.
const Version = 1

const (
	// headerSize is what the header takes: magic, version (2 bytes), byte order (1),
	// reserved (1), number of parts (4), length of the image (4), checksum of header and
	// table of parts (4).
	headerSize = 24
	// partSize is what a part takes in the table: id, flags, offset, length, size of what
	// is decoded, checksum (4 bytes each).
	partSize = 24

	versionAt  = 8
	orderAt    = 10
	countAt    = 12
	lengthAt   = 16
	checksumAt = 20
)

// The byte orders, as in ELF.
const (
	littleEndian = 1
	bigEndian    = 2
)

// A part's flags.
const (
	// optional is set when a reader that does not know the part can ignore it.
	optional = 1 << iota
	// coded is set when runs of zeros are coded, as in zeros.go.
	coded
	knownFlags = optional | coded
)

// partID is the number of a part, by its contents. A number is never reused.
type partID uint32

const (
	objectPart partID = iota + 1
	stringsPart
	dataPart
	btfPart
	codePart
	functionsPart
	programsPart
	mapsPart
	externsPart
	kconfigPart
	elementsPart
	structOpsPart
	opsFuncsPart
	variablesPart
	relocationsPart
	corePart
	funcInfoPart
	lineInfoPart
	jumpTablesPart
	jumpsPart
	elfPart
	numParts
)

// maxImage bounds an image and what is decoded of it, so that an int has its sizes on
// every machine.
const maxImage = 1<<31 - 1

// ErrDamaged is the error for an image that no encoder writes. Those that [Decode] returns
// wrap it.
var ErrDamaged = errors.New("the BPF object in the generated code is damaged: generate the code again")

// checksum is CRC-32 with the polynomial of IEEE 802.3. Castagnoli's is as fast later, but
// the first use in a process takes 0.2 ms for its tables, which is half of what a small
// object takes to load.
func checksum(data []byte) uint32 { return crc32.ChecksumIEEE(data) }

// headerChecksum is that of the header and the table of parts, without the checksum.
func headerChecksum(image []byte, parts int) uint32 {
	sum := checksum(image[:checksumAt])
	return crc32.Update(sum, crc32.IEEETable, image[headerSize:headerSize+parts*partSize])
}

func orderByte(order binary.ByteOrder) byte {
	var b [2]byte
	order.PutUint16(b[:], 1)
	if b[0] == 1 {
		return littleEndian
	}
	return bigEndian
}
