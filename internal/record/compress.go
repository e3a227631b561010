package record

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// The digests of the store take the place of zstd's checksum.
var encoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
})

var (
	lineDecoder  = sync.OnceValue(func() *zstd.Decoder { return newDecoder(MaxAppend) })
	chunkDecoder = sync.OnceValue(func() *zstd.Decoder { return newDecoder(MaxChunk) })
)

// newDecoder makes a decoder that gives at most limit bytes.
func newDecoder(limit uint64) *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(limit))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}

// maxCompressed bounds what compressing n bytes gives.
func maxCompressed(n int) int { return n + n/128 + 1024 }

// DigestOf is the digest of a content.
func DigestOf(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest(digestPrefix + hex.EncodeToString(sum[:]))
}
