package remote

import "context"

// ProvideOf is Provide with programs of the test's choice.
func (c *Conn) ProvideOf(ctx context.Context, f Facts, how Pushing, paths ...string) (Install, error) {
	return c.provide(ctx, f, how, func(string, string) (list []Program, err error) {
		for _, p := range paths {
			list = append(list, Program{Name: p, Path: p})
		}
		return list, nil
	})
}

// Plain is what a host is where there is no ssh program.
func Plain(host string, e Entry, configs ...string) (Node, error) {
	out, err := plain(host, e, configs...)
	if err != nil {
		return Node{}, err
	}
	n, _ := parse(host, out)
	return n, nil
}
