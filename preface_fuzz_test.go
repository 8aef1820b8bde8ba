package epi

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzProxyHeader takes headers off arbitrary bytes. However they are split, the
// header ends at the same place, and what comes behind it does not matter.
func FuzzProxyHeader(f *testing.F) {
	binary := string(proxyBinary)
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\nhello",
		"PROXY TCP6 2001:db8::7 2001:db8::1 1234 80\r\nhello",
		"PROXY UNKNOWN\r\n",
		"PROXY \n",
		"PROXY TCP4 " + string(bytes.Repeat([]byte("1"), maxProxyText)),
		binary + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x04\xd2\x00\x50hello",
		binary + "\x21\x11\x00\x10\xc0\x00\x02\x07\xc0\x00\x02\x01\x04\xd2\x00\x50\x04\x00\x01\x00hello", // a TLV
		binary + "\x20\x00\x00\x00hello",                                                                 // LOCAL
		binary + "\x21\x11\x00\x01\x00",                                                                  // shorter than its family
		binary + "\x21\x11\xff\xff",                                                                      // too long
		"GET / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		size, err := proxyHeaderSize(data)
		if err != nil && !errors.Is(err, ErrProxyHeader) {
			t.Fatalf("%q: %v is not ErrProxyHeader", data, err)
		}
		for n := range min(len(data), maxProxyText+1) {
			part, partErr := proxyHeaderSize(data[:n])
			if partErr != nil && err == nil || part != 0 && part != size {
				t.Fatalf("%q: the size is %d (%v), of its first %d bytes %d (%v)", data, size, err, n, part, partErr)
			}
		}
		if err == nil && size > 0 && size <= len(data) {
			_, _ = parseProxyHeader(data[:size]) // must not panic
		}
	})
}
