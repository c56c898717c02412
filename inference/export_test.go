package inference

import (
	"context"
	"errors"

	"rbee/inference/device"
)

// VerifyOn is Verify of a model on a device that a test has tampered with.
func VerifyOn(ctx context.Context, dev device.Device, path, text string) (checks []Check, err error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	e, err := loadOn(ctx, dev, f, Options{ContextLength: verifyTokens}, nil)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	defer e.Close()
	tokens := e.tok.Encode(text, EncodeOptions{AddSpecial: true})
	e.verify(ctx, tokens[:min(len(tokens), verifyTokens)], func(c Check, cause error) bool {
		if cause != nil {
			err = cause
			return false
		}
		checks = append(checks, c)
		return true
	})
	return checks, err
}
