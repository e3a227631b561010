package record

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// The digests of the store take the place of zstd's checksum, and a frame of a single
// segment always says how long its content is.
var encoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
})

var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
})

// compress compresses a content to a frame that says how long it is.
func compress(dst, data []byte) []byte { return encoder().EncodeAll(data, dst) }

// decompress takes no more memory than a content of at most limit bytes needs.
func decompress(key string, body []byte, limit int) ([]byte, error) {
	if len(body) == 0 {
		return nil, nil
	}
	var h zstd.Header
	if err := h.Decode(body); err != nil {
		return nil, &CorruptError{Object: key, Reason: err.Error()}
	}
	if !h.HasFCS || h.FrameContentSize > uint64(max(limit, 0)) {
		return nil, &CorruptError{Object: key, Reason: fmt.Sprintf("it does not decompress to at most %d bytes", limit)}
	}
	data, err := decoder().DecodeAll(body, make([]byte, 0, h.FrameContentSize))
	if err != nil {
		return nil, &CorruptError{Object: key, Reason: err.Error()}
	}
	return data, nil
}

// maxCompressed bounds what compressing n bytes gives.
func maxCompressed(n int) int { return n + n/128 + 1024 }

// DigestOf is the digest of a content.
func DigestOf(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest(digestPrefix + hex.EncodeToString(sum[:]))
}
