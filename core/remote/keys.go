package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// A keyring is what a login offers: each key once, those of files first.
type keyring struct {
	keys   []ssh.Signer
	have   map[string]bool   // by public key
	listed map[string]bool   // public keys of the node's own files
	locked map[string]string // by public key or else by file: those with a passphrase whose keys no agent holds
}

// keyring collects the keys to offer, all of them in one AuthMethod: of several of
// the same kind x/crypto tries only the first. After done the agent signs no more.
func (n Node) keyring(ctx context.Context) (r keyring, done func(), err error) {
	r = keyring{have: map[string]bool{}, listed: map[string]bool{}, locked: map[string]string{}}
	for _, f := range n.Keys {
		if err := r.addFile(f); err != nil {
			return r, nil, err
		}
	}
	held, done := n.agentKeys(ctx)
	for _, k := range held {
		id := string(k.PublicKey().Marshal())
		delete(r.locked, id)
		if !n.KeysOnly || r.listed[id] {
			r.add(k)
		}
	}
	return r, done, nil
}

// add adds a key that is not there yet: a server counts what it is offered.
func (r *keyring) add(k ssh.Signer) {
	if id := string(k.PublicKey().Marshal()); !r.have[id] {
		r.have[id] = true
		r.keys = append(r.keys, k)
	}
}

func (r *keyring) addFile(f string) error {
	b, err := os.ReadFile(f)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remote: key: %w", err)
	}
	k, pub, err := readKey(f, b)
	id := f
	if pub != nil {
		id = string(pub.Marshal())
		r.listed[id] = true
	}
	if err == nil {
		r.add(k)
	} else if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		r.locked[id] = f
	}
	return nil
}

// readKey reads a private key, and its public half where that can be had without
// a passphrase.
func readKey(file string, b []byte) (ssh.Signer, ssh.PublicKey, error) {
	var pub ssh.PublicKey
	if text, err := os.ReadFile(file + ".pub"); err == nil {
		pub, _, _, _, _ = ssh.ParseAuthorizedKey(text) // without it the key is as good
	}
	k, err := ssh.ParsePrivateKey(b)
	if missing, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok && missing.PublicKey != nil {
		pub = missing.PublicKey
	}
	if err == nil {
		pub = k.PublicKey()
	}
	return k, pub, err
}

// readableKeys returns the key files that are there.
func (n Node) readableKeys() (files []string) {
	for _, f := range n.Keys {
		if _, err := os.Stat(f); err == nil {
			files = append(files, f)
		}
	}
	return files
}

// agentKeys returns the agent's keys, none when there is no agent. They sign
// until done, or until ctx is: an agent may accept and say nothing.
func (n Node) agentKeys(ctx context.Context) (keys []ssh.Signer, done func()) {
	if n.Agent == "" {
		return nil, func() {}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", n.Agent)
	if err != nil {
		return nil, func() {}
	}
	cut := context.AfterFunc(ctx, func() { conn.Close() })
	keys, _ = agent.NewClient(conn).Signers()
	return keys, func() { cut(); conn.Close() }
}
