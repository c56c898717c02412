package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/urfave/cli/v2"

	"rbee/core/machine"
	"rbee/inference"
)

func embedCommand() *cli.Command {
	return &cli.Command{
		Name: "embed", Usage: "print the vector of the text on stdin as JSON, not normalised",
		Flags: []cli.Flag{
			modelFlag(),
			&cli.StringFlag{Name: "pooling", Usage: "mean, cls or last; else the model's own"},
			&cli.BoolFlag{Name: "json", Usage: "as always"},
			&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "0: as many as there are cores"},
		},
		Action: runEmbed,
	}
}

func runEmbed(c *cli.Context) error {
	text, err := io.ReadAll(c.App.Reader)
	if err != nil {
		return fmt.Errorf("worker: stdin: %w", err)
	}
	threads := c.Int("threads")
	if threads <= 0 {
		threads = machine.UsableCores()
	}
	e, err := openTool(c.Context, c.String("model"), 0, threads)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.Context)
	var loop sync.WaitGroup
	loop.Go(func() { _ = e.Run(ctx) }) // it fails never but with its answers
	v, err := e.Embed(c.Context, e.Tokenize(string(text), inference.EncodeOptions{AddSpecial: true, ParseSpecial: true}), c.String("pooling"))
	if err != nil {
		err = requestFault(err, e)
	} else {
		err = json.NewEncoder(c.App.Writer).Encode(map[string][]float32{"embedding": v})
	}
	cancel()
	loop.Wait()
	return errors.Join(err, e.Close())
}
