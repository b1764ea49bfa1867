package image

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// # Variants
//
// Objects that are compiled from the same sources have most of their bytes in common. A set of
// images has these once: it is
//
//   - a magic number,
//   - the number of images,
//   - for each of them its length, and the length of its list of pieces,
//   - the lists, a piece being an offset in the pool and a length,
//   - the pool, to the end.
//
// All numbers but the first are of variable length, as encoding/binary has them. An image is
// its pieces one after the other. Its own checksums are what finds damage.
//
// One instruction more changes the numbers of all instructions after it, and so all records of
// the tables that have these. Before it is cut into pieces, each table of an image is turned
// into columns, of which the first has differences between the numbers of instructions: see
// turn.

// setMagic is what sets begin with.
const setMagic = "BPFimgs1"

// window is how many bytes have to be equal to be taken from the pool: fewer cost more in
// the list than they save.
const window = 16

// JoinVariants returns a set of images, from which [Variant] takes each. The same images give the
// same set.
func JoinVariants(images [][]byte) []byte {
	p := pool{at: make(map[[window]byte]int)}
	lists := make([][]byte, len(images))
	set := binary.AppendUvarint([]byte(setMagic), uint64(len(images)))
	for i, image := range images {
		image = bytes.Clone(image)
		eachTable(image, turn)
		lists[i] = p.add(image)
		set = binary.AppendUvarint(set, uint64(len(image)))
		set = binary.AppendUvarint(set, uint64(len(lists[i])))
	}
	for _, list := range lists {
		set = append(set, list...)
	}
	return append(set, p.data...)
}

// pool has the bytes of all images, each as seldom as can be found with little work.
type pool struct {
	data []byte
	// at has the first offset of each window in data, for the first indexed of them.
	at      map[[window]byte]int
	indexed int
}

// add returns the pieces of which the image consists, and takes what is new of it into the
// pool.
func (p *pool) add(image []byte) []byte {
	var list []byte
	start := 0 // of what is new
	for i := 0; i+window <= len(image); {
		from, ok := p.at[[window]byte(image[i:])]
		if !ok {
			i++
			continue
		}
		// The window may begin in the middle of what is equal.
		for i > start && from > 0 && image[i-1] == p.data[from-1] {
			i, from = i-1, from-1
		}
		n := equalBytes(image[i:], p.data[from:])
		list = p.take(list, image[start:i])
		list = appendPiece(list, from, n)
		i += n
		start = i
	}
	list = p.take(list, image[start:])
	p.index()
	return list
}

// take appends what is new to the pool, and a piece for it to the list.
func (p *pool) take(list, data []byte) []byte {
	if len(data) == 0 {
		return list
	}
	list = appendPiece(list, len(p.data), len(data))
	p.data = append(p.data, data...)
	return list
}

// index makes the pool's windows known, for the images to come.
func (p *pool) index() {
	for ; p.indexed+window <= len(p.data); p.indexed++ {
		w := [window]byte(p.data[p.indexed:])
		if _, ok := p.at[w]; !ok {
			p.at[w] = p.indexed
		}
	}
}

func appendPiece(list []byte, offset, n int) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(list, uint64(offset)), uint64(n))
}

func equalBytes(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// Variant returns the image with the index, of a set that [JoinVariants] has made. It fails
// with [ErrDamaged], and when there is no such image.
func Variant(set string, index int) (string, error) {
	if len(set) < len(setMagic) || set[:len(setMagic)] != setMagic {
		return "", ErrDamaged
	}
	r := setReader{data: set[len(setMagic):]}
	count := r.number()
	if r.bad {
		return "", ErrDamaged
	}
	if index < 0 || index >= count {
		return "", fmt.Errorf("there is no variant %d, as there are %d: use one of the constants", index, count)
	}
	var size, length, before, lists int
	for i := range count {
		imageSize, listLength := r.number(), r.number()
		if i == index {
			size, length, before = imageSize, listLength, lists
		}
		if lists += listLength; r.bad || lists > maxImage {
			return "", ErrDamaged
		}
	}
	if lists > len(r.data) {
		return "", ErrDamaged
	}
	pool := r.data[lists:]
	r.data = r.data[before : before+length]
	// What a piece takes in the list is little, and a list may have one piece many times: the
	// size is no more than what the pieces say.
	image := make([]byte, 0, min(size, len(pool)+length))
	for len(r.data) > 0 {
		from, n := r.number(), r.number()
		if r.bad || from > len(pool) || n > len(pool)-from || n > size-len(image) {
			return "", ErrDamaged
		}
		image = append(image, pool[from:from+n]...)
	}
	if len(image) != size {
		return "", ErrDamaged
	}
	eachTable(image, turnBack)
	return text(image), nil
}

// eachTable calls f for each table of an image that begins with the index of an instruction,
// with the number of words in a record. It does nothing with what is not an image.
func eachTable(image []byte, f func(table []byte, words int, order binary.ByteOrder)) {
	if len(image) < headerSize || string(image[:len(magic)]) != magic {
		return
	}
	var order binary.ByteOrder = binary.LittleEndian
	if image[orderAt] == bigEndian {
		order = binary.BigEndian
	}
	parts := image[headerSize:]
	for range min(int(order.Uint32(image[countAt:])), len(parts)/partSize) {
		id, offset, length := partID(order.Uint32(parts)), uint64(order.Uint32(parts[8:])), uint64(order.Uint32(parts[12:]))
		parts = parts[partSize:]
		if !isTable(id) || offset < headerSize || offset+length > uint64(len(image)) {
			continue
		}
		words := 4
		if id == funcInfoPart {
			words = 2
		}
		f(image[offset:offset+length], words, order)
	}
}

// turn makes columns of the records of a table, the first of differences.
func turn(table []byte, words int, order binary.ByteOrder) {
	records := len(table) / 4 / words
	columns := make([]byte, len(table))
	copy(columns, table)
	last := uint32(0)
	for r := range records {
		for w := range words {
			v := order.Uint32(table[4*(r*words+w):])
			if w == 0 {
				v, last = v-last, v
			}
			order.PutUint32(columns[4*(w*records+r):], v)
		}
	}
	copy(table, columns)
}

// turnBack undoes turn.
func turnBack(columns []byte, words int, order binary.ByteOrder) {
	records := len(columns) / 4 / words
	table := make([]byte, len(columns))
	copy(table, columns)
	last := uint32(0)
	for r := range records {
		for w := range words {
			v := order.Uint32(columns[4*(w*records+r):])
			if w == 0 {
				v += last
				last = v
			}
			order.PutUint32(table[4*(r*words+w):], v)
		}
	}
	copy(columns, table)
}

// setReader reads the numbers of a set.
type setReader struct {
	data string
	bad  bool
}

// number returns the next number, 0 for one that no set has.
func (r *setReader) number() int {
	n := uint64(0)
	for i := 0; i < len(r.data) && i < 5; i++ {
		c := r.data[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.data = r.data[i+1:]
			r.bad = r.bad || n > maxImage
			if r.bad {
				return 0
			}
			return int(n)
		}
	}
	r.bad = true
	return 0
}
