package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"rbee/core"
	"rbee/core/client"
	"rbee/core/config"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

// keepQueen starts a queen that stays: a daemon of its own session, which logs to a
// file in the state directory. It has a token: one is made if the user has none.
func keepQueen(ctx context.Context, settings config.Settings, s *screen) (*queen, error) {
	file := settings.TokenFile
	if file == "" {
		file = settings.Paths.Token
		if err := secure.WriteToken(file, false); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, &core.Fault{Kind: core.Internal, What: err.Error(), Cause: err}
		}
	}
	token, err := secure.ReadToken(file)
	if err != nil {
		return nil, err
	}
	ln, _, err := cmdline.NextFree(ctx, queenPort)
	if err != nil {
		return nil, err
	}
	logFile := filepath.Join(settings.Paths.State, "queen.log")
	ended, err := detach(ln, logFile, file)
	if err != nil {
		return nil, &core.Fault{Kind: core.Internal, What: fmt.Sprintf("the queen does not start: %v", err), Cause: err}
	}
	q := &queen{client: client.New(fmt.Sprintf("http://127.0.0.1:%d", cmdline.Port(ln)), client.Options{Token: token})}
	died := fmt.Errorf("it ended at once: see %s", logFile)
	if err := q.awaitUp(ctx, settings.Limits.QueenUp, ended, func() error { return died }); err != nil {
		return nil, err
	}
	s.note(fmt.Sprintf("queen up on port %d, and stays; rbee stop ends her", cmdline.Port(ln)))
	return q, nil
}

// detach starts the queen with the listener and lets go of her. The channel is
// closed when she has ended while we are there.
func detach(ln net.Listener, logFile, tokenFile string) (ended <-chan struct{}, err error) {
	defer ln.Close()
	if err := os.MkdirAll(filepath.Dir(logFile), 0o700); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{"queen-rbee", "daemon", "--listen", "fd:3", "--token-file", tokenFile},
		Env: os.Environ(), Stderr: out, ExtraFiles: []*os.File{socket}, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	gone := make(chan struct{})
	go func() { // at the latest with this process
		defer close(gone)
		_ = cmd.Wait()
	}()
	return gone, nil
}
