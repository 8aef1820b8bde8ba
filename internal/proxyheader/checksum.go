package proxyheader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	fieldFixed    = 3    // type, and length in two bytes
	checksumField = 0x03 // PP2_TYPE_CRC32C
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkSum compares the header, which ends with fields, with its checksum, if it
// has one (section 2.2.3).
func checkSum(header, fields []byte) error {
	for len(fields) > 0 {
		if len(fields) < fieldFixed {
			return errors.New("its last field is cut off")
		}
		kind, size := fields[0], int(binary.BigEndian.Uint16(fields[1:]))
		fields = fields[fieldFixed:]
		if len(fields) < size {
			return fmt.Errorf("its field of type %#x is cut off", kind)
		}
		if kind == checksumField {
			return compareSum(header, fields, size)
		}
		fields = fields[size:]
	}
	return nil
}

// compareSum is checkSum for the sum that was found, where rest begins: that of all
// bytes of the header, those of the sum being zero.
func compareSum(header, rest []byte, size int) error {
	if size != crc32.Size {
		return fmt.Errorf("its checksum has %d bytes, not %d", size, crc32.Size)
	}
	is := crc32.Update(0, castagnoli, header[:len(header)-len(rest)])
	is = crc32.Update(is, castagnoli, make([]byte, crc32.Size))
	is = crc32.Update(is, castagnoli, rest[crc32.Size:])
	if said := binary.BigEndian.Uint32(rest); is != said {
		return fmt.Errorf("its checksum is %#08x, that of what has arrived is %#08x", said, is)
	}
	return nil
}
