package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rbee/core"
)

// Open opens the catalog, and makes or mends it when need be: a broken file is
// moved to the state directory, said in the log, and made anew from our own copies
// and what lies beside them. Of several processes at once the first does it.
func Open(ctx context.Context, o Options) (*Catalog, error) {
	for _, dir := range []string{filepath.Dir(o.File), o.State} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("catalog: %w", err)
		}
	}
	unlock, err := lock(ctx, filepath.Join(o.State, "models.db.lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	o.sweep()
	c, err := open(ctx, o)
	anew := err != nil && broken(err)
	aside := ""
	if anew {
		c, aside, err = o.anew(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	if err := c.mend(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("catalog: %w", err), c.Close())
	}
	if anew {
		c.rebuild(ctx)
		c.salvage(ctx, aside)
	}
	return c, nil
}

// anew puts the broken file aside and opens an empty one.
func (o Options) anew(ctx context.Context, why error) (c *Catalog, aside string, err error) {
	aside = filepath.Join(o.State, "models.db.corrupt."+time.Now().UTC().Format("20060102T150405"))
	if err := os.Rename(o.File, aside); err != nil {
		return nil, "", errors.Join(why, err)
	}
	_ = os.Remove(o.File + "-journal") // of the broken file
	o.Log.Warn("the catalog was broken and is made anew", "error", why.Error(), "old", aside)
	c, err = open(ctx, o)
	return c, aside, err
}

// lock waits for the only right to open a catalog. It ends with the process.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	if err := flock(ctx, f, unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("catalog: lock %s: %w", name, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// staleCopy is how old an unfinished copy is that nobody writes to any more.
const staleCopy = time.Hour

// sweep removes copies that were broken off by a crash.
func (o Options) sweep() {
	parts, _ := filepath.Glob(filepath.Join(o.Models, "*"+copySuffix))
	for _, name := range parts {
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > staleCopy {
			_ = os.Remove(name) // else the next one does
		}
	}
}

// rebuild registers our own copies without a sidecar, whose names are their hashes:
// they are called by their paths. mend has taken those with a sidecar. None is
// trusted: Find hashes it first.
func (c *Catalog) rebuild(ctx context.Context) {
	files, _ := filepath.Glob(filepath.Join(c.o.Models, "*.gguf"))
	for _, path := range files {
		key := strings.TrimSuffix(filepath.Base(path), ".gguf")
		_, err := os.Stat(filepath.Join(c.o.Models, key+sidecarSuffix))
		if CheckHash(key) != nil || err == nil {
			continue // not ours, or here already
		}
		a := Addition{Ref: core.ModelRef("file:" + path), Source: Copied, Files: []File{{Name: filepath.Base(path), Path: path, Promised: key}}}
		if _, err := c.add(ctx, a); err != nil {
			c.o.Log.Warn("a copy is no model", "path", path, "error", err.Error())
		}
	}
}

// salvage registers the models in place that can still be read out of the broken file,
// if they are as it says. Their files are read anew: only that they were here is
// believed.
func (c *Catalog) salvage(ctx context.Context, aside string) {
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: aside}).EscapedPath()+"?mode=ro&immutable=1")
	if err != nil {
		return
	}
	defer db.Close()
	all, err := query(ctx, unindexed{db}, "WHERE m.source IN ('import', 'huggingface', 'ollama', 'lmstudio')")
	for _, m := range all {
		if changed, err := m.changed(); err != nil || changed {
			continue
		}
		if _, err := c.renew(ctx, m); err != nil {
			c.o.Log.Warn("a model of the broken catalog is left out", "model", string(m.Ref), "error", err.Error())
		}
	}
	if err != nil {
		c.o.Log.Warn("models in place could not all be read from the broken catalog: import them again", "error", err.Error())
	}
}

// unindexed reads tables alone: in a broken file an index may lead astray.
type unindexed struct{ db *sql.DB }

func (u unindexed) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	query = strings.Replace(query, "models m JOIN files f USING", "models m NOT INDEXED JOIN files f NOT INDEXED USING", 1)
	return u.db.QueryContext(ctx, query, args...)
}

// broken tells whether the file is no database any more.
func broken(err error) bool {
	return errors.Is(err, errCheck) || strings.Contains(err.Error(), "not a database") || strings.Contains(err.Error(), "malformed")
}

var errCheck = errors.New("the integrity check failed")

func open(ctx context.Context, o Options) (*Catalog, error) {
	dsn := "file:" + (&url.URL{Path: o.File}).EscapedPath() +
		"?_busy_timeout=5000&_journal_mode=DELETE&_foreign_keys=on&_txlock=immediate"
	db, err := sql.Open("sqlite3", dsn)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	db.SetMaxOpenConns(1) // one writer; the others wait here and not for a lock
	c := &Catalog{db, o}
	if err := errors.Join(c.check(ctx), c.migrate(ctx), c.tidy(ctx)); err != nil {
		return nil, errors.Join(fmt.Errorf("catalog: %s: %w", o.File, err), db.Close())
	}
	return c, nil
}

// tidy writes something when a journal lies beside the file, that of a process which
// was killed: the write removes it.
func (c *Catalog) tidy(ctx context.Context) error {
	if _, err := os.Stat(c.o.File + "-journal"); err != nil {
		return nil //nolint:nilerr // there is none
	}
	return c.tx(ctx, func(tx *sql.Tx) error {
		var version int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version))
		return err
	})
}

func (c *Catalog) check(ctx context.Context) error {
	var verdict string
	if err := c.db.QueryRowContext(ctx, "PRAGMA quick_check").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", errCheck, verdict)
	}
	return nil
}

// migrate brings the schema up to date. One that is takes no writer's turn.
func (c *Catalog) migrate(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(files)
	var version int
	if err := c.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil || version == len(files) {
		return err
	}
	return c.tx(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		if version > len(files) {
			return fmt.Errorf("the catalog is of a newer version of rbee (%d, this one knows %d)", version, len(files))
		}
		for i := version; i < len(files); i++ {
			text, err := migrations.ReadFile(files[i])
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, string(text)); err != nil {
				return fmt.Errorf("%s: %w", files[i], err)
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(files)))
		return err
	})
}
