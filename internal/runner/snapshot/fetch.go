package snapshot

import (
	"context"
	"iter"

	"github.com/sampan-dev/sampan/internal/record"
)

// fetch gives chunks in their order, while the next ones are on their way. It ends
// after an error.
func fetch(ctx context.Context, rec record.Recorder, chunks []record.Digest) iter.Seq2[[]byte, error] {
	type answer struct {
		data []byte
		err  error
	}
	return func(yield func([]byte, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		asked := make(chan chan answer, parallel-1)
		done := make(chan struct{})
		defer func() { // nobody is left who uses the record
			cancel()
			for a := range asked {
				<-a
			}
			<-done
		}()
		go func() {
			defer close(done)
			defer close(asked)
			for _, d := range chunks {
				a := make(chan answer, 1)
				select {
				case asked <- a:
				case <-ctx.Done():
					return
				}
				go func() {
					data, err := rec.Chunk(ctx, d)
					if err != nil {
						err = missingChunk(d, err)
					}
					a <- answer{data, err}
				}()
			}
		}()
		for a := range asked {
			got := <-a
			if !yield(got.data, got.err) || got.err != nil {
				return
			}
		}
	}
}
