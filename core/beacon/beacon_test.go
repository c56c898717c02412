package beacon

import (
	"os"
	"path/filepath"
	"testing"

	"rbee/core/api"
	"rbee/core/lease"
)

func TestBeacon(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if _, ok := Find(dir, "hive"); ok {
		t.Error("found where nothing is")
	}
	me, err := lease.Find(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	want := api.Up{Port: 9201, PID: me.PID, Started: me.Started, Instance: "i"}
	put, err := Light(dir, "hive", want)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := Find(dir, "hive"); !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
	if info, err := os.Stat(filepath.Join(dir, "hive.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info, err)
	}
	dead := want
	dead.Started++ // another process had the pid
	if _, err := Light(dir, "hive", dead); err != nil {
		t.Fatal(err)
	}
	if got, ok := Find(dir, "hive"); ok {
		t.Errorf("found a dead one: %+v", got)
	}
	put() // of who has been replaced
	if _, err := os.Stat(filepath.Join(dir, "hive.json")); err != nil {
		t.Errorf("another's was taken back: %v", err)
	}
	if list, _ := filepath.Glob(filepath.Join(dir, ".*")); len(list) > 0 {
		t.Errorf("left: %v", list)
	}
}
