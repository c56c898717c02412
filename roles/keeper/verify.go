package keeper

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "read models anew and compare them with what they were", ArgsUsage: "[MODEL…]", Action: withAnyQueen(verify),
		Description: "Without a MODEL, all. A damaged file is not used any more; pull the model again. Exit status 1 when one is damaged.",
		Flags:       []cli.Flag{queenFlag(), &cli.StringFlag{Name: "node", Usage: "only on this machine"}, acceptNewFlag()},
	}
}

func verify(ctx context.Context, x *session) error {
	models := x.Args().Slice()
	if len(models) == 0 {
		models = []string{""}
	}
	v := &verification{session: x}
	for _, typed := range models {
		request := api.VerifyRequest{Node: x.nodeFlag()}
		if typed != "" {
			model, err := x.model(ctx, typed)
			if err != nil {
				return err
			}
			request.Model = model
		}
		if err := x.on(ctx, x.nodeFlag(), func() error { return v.run(ctx, request) }); err != nil {
			return err
		}
	}
	return v.verdict()
}

// A verification shows each model's outcome as it comes.
type verification struct {
	*session

	good int
	bad  []core.Fact
	what core.ModelRef // the last that is bad
}

func (v *verification) run(ctx context.Context, r api.VerifyRequest) error {
	for s, err := range v.queen.client.Verify(ctx, r) {
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		v.there(s.Node)
		if err := v.show(*s); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) show(s api.VerifyStage) error {
	name := fmt.Sprintf("%s on %s", s.ModelRef, s.Node)
	switch s.Stage {
	case api.VerifyReading:
		v.screen.moving(nameOf(s.ModelRef)+" on "+string(s.Node), api.PullStage{Stage: api.StageVerifying, Done: s.Done, Total: s.Total})
		return nil
	case api.VerifyGood:
		v.good++
	default:
		v.bad, v.what = append(v.bad, core.Text(name, s.Error)), s.ModelRef
	}
	v.screen.clear()
	return v.screen.write(fmt.Sprintf("%s: %s\n", name, s.Stage))
}

// verdict is the error of what is bad.
func (v *verification) verdict() error {
	if len(v.bad) == 0 {
		v.screen.note(fmt.Sprintf("%d verified", v.good))
		return nil
	}
	return &core.Fault{
		Kind: core.Internal, What: fmt.Sprintf("%d of %d models are not what they were", len(v.bad), v.good+len(v.bad)), Facts: v.bad,
		Try: "rbee model pull " + string(v.what),
	}
}
