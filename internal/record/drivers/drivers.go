// Package drivers lets a store of the record be in S3 (s3://…) where it is linked in.
// Programs that keep records in folders only do without it, and without the AWS SDK.
package drivers

import (
	_ "gocloud.dev/blob/s3blob" // for the scheme s3
)
