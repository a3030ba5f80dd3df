package localpg_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salga-trust/engine/internal/localpg"
)

// stranger is neither root nor the user that runs the tests; only the permission bits for
// others apply.
func stranger() localpg.Account {
	return localpg.Account{UID: 54321, GID: 54321, Drop: true}
}

func mkdir(t *testing.T, mode os.FileMode, parts ...string) string {
	t.Helper()
	dir := filepath.Join(parts...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mustChooseDir fails the test on an error and drops the account.
func mustChooseDir(t *testing.T, wanted string, who localpg.Account, fallbacks ...string) string {
	t.Helper()
	dir, _, err := localpg.ChooseDir(wanted, who, fallbacks...)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestChooseDirTakesTheWantedFolderWhenItsUserCanReachIt(t *testing.T) {
	t.Parallel()
	root := newFolder(t)
	wanted := filepath.Join(root, "new", "pg")
	if got := mustChooseDir(t, wanted, stranger(), filepath.Join(root, "fallback")); got != wanted {
		t.Errorf("got %s, want %s", got, wanted)
	}
}

func TestChooseDirFallsBackBehindAClosedParent(t *testing.T) {
	t.Parallel()
	root := newFolder(t)
	closed := mkdir(t, 0o700, root, "closed")
	fallback := filepath.Join(root, "fallback")

	got := mustChooseDir(t, filepath.Join(closed, "deep", "pg"), stranger(), fallback)
	if filepath.Dir(got) != fallback {
		t.Errorf("got %s, want a folder in %s", got, fallback)
	}
	if again := mustChooseDir(t, filepath.Join(closed, "deep", "pg"), stranger(), fallback); again != got {
		t.Errorf("the second call returned %s, not %s", again, got)
	}
	if other := mustChooseDir(t, filepath.Join(closed, "other", "pg"), stranger(), fallback); other == got {
		t.Errorf("two requested folders share %s", got)
	}
}

func TestChooseDirLeavesACurrentUserWhereItIs(t *testing.T) {
	t.Parallel()
	root := newFolder(t)
	wanted := filepath.Join(mkdir(t, 0o700, root, "closed"), "pg")
	who := stranger()
	who.Drop = false
	if got := mustChooseDir(t, wanted, who, filepath.Join(root, "fallback")); got != wanted {
		t.Errorf("got %s, want %s", got, wanted)
	}
}

func TestChooseDirLooksThroughSymbolicLinks(t *testing.T) {
	t.Parallel()
	root := newFolder(t)
	closed := mkdir(t, 0o700, root, "closed")
	link := filepath.Join(root, "link")
	if err := os.Symlink(closed, link); err != nil {
		t.Fatal(err)
	}

	fallback := filepath.Join(root, "fallback")
	if got := mustChooseDir(t, filepath.Join(link, "pg"), stranger(), fallback); filepath.Dir(got) != fallback {
		t.Errorf("got %s, which the link hides behind a closed folder", got)
	}
}

func TestChooseDirKeepsAnExistingClusterWhereItIs(t *testing.T) {
	t.Parallel()
	root := newFolder(t)
	closed := mkdir(t, 0o700, root, "closed")
	wanted, fallback := filepath.Join(closed, "pg"), filepath.Join(root, "fallback")

	used := mustChooseDir(t, wanted, stranger(), fallback)
	writeCluster(t, used)

	mkdir(t, 0o755, closed) // now the requested folder could be reached
	if got := mustChooseDir(t, wanted, stranger(), fallback); got != used {
		t.Errorf("got %s, an empty folder beside the cluster in %s", got, used)
	}
}

func TestChooseDirRefusesToStartEmptyBesideAClusterItCannotReach(t *testing.T) {
	t.Parallel()
	root := newFolder(t)
	wanted := filepath.Join(mkdir(t, 0o755, root, "shut"), "pg")
	writeCluster(t, wanted)
	mkdir(t, 0o600, root, "shut") // not even its owner may pass
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(wanted, "data"), 54321, 54321); err != nil {
			t.Fatal(err)
		}
	}

	dir, _, err := localpg.ChooseDir(wanted, stranger(), filepath.Join(root, "fallback"))
	if os.Geteuid() != 0 && err == nil {
		return // only root can see the cluster behind the closed folder
	}
	if err == nil || !strings.Contains(err.Error(), "cannot be served") {
		t.Errorf("got %s, %v", dir, err)
	}
}

func TestChooseDirServesAClusterAsItsOwner(t *testing.T) {
	t.Parallel()
	wanted := filepath.Join(newFolder(t), "pg")
	writeCluster(t, wanted)

	want := os.Geteuid()
	if want == 0 {
		want = 65533
		if err := os.Chown(filepath.Join(wanted, "data"), want, want); err != nil {
			t.Fatal(err)
		}
	}

	_, who, err := localpg.ChooseDir(wanted, stranger())
	if err != nil || who.UID != want || !who.Drop {
		t.Errorf("got %+v, %v; want user %d", who, err, want)
	}
}

func TestChooseDirDoesNotTrustAFallbackThatOthersCanWrite(t *testing.T) {
	t.Parallel()
	root := newFolder(t)
	wanted := filepath.Join(mkdir(t, 0o700, root, "closed"), "pg")
	open := mkdir(t, 0o777, root, "open")
	safe := filepath.Join(root, "safe")

	if got := mustChooseDir(t, wanted, stranger(), open, safe); filepath.Dir(got) != safe {
		t.Errorf("got %s", got)
	}
	if dir, _, err := localpg.ChooseDir(wanted, stranger(), open); err == nil {
		t.Errorf("got %s, want an error", dir)
	}
}

// The names of the fallbacks are easy to guess: anybody faster than root could put a
// cluster there.
func TestChooseDirAdoptsNoClusterThatOthersCouldHavePlanted(t *testing.T) {
	t.Parallel()
	root := newFolder(t)
	wanted := filepath.Join(mkdir(t, 0o700, root, "closed"), "pg")
	open := mkdir(t, 0o777, root, "open")

	before := mustChooseDir(t, wanted, stranger(), filepath.Join(root, "as before"))
	writeCluster(t, filepath.Join(open, filepath.Base(before)))
	safe := filepath.Join(root, "safe")
	if got := mustChooseDir(t, wanted, stranger(), open, safe); filepath.Dir(got) != safe {
		t.Errorf("got %s, which anybody could have put there", got)
	}

	writeCluster(t, filepath.Join(open, "pg"))
	if dir, _, err := localpg.ChooseDir(filepath.Join(open, "pg"), stranger()); err == nil ||
		!strings.Contains(err.Error(), "another user") {
		t.Errorf("got %s, %v", dir, err)
	}
}

// Root would give away and fill a folder, or a link, that another user left in DATA_DIR.
func TestAFolderThatAnotherUserPutInTheWayIsNeitherUsedNorGivenAway(t *testing.T) {
	t.Parallel()
	root := newFolder(t)
	target := mkdir(t, 0o755, root, "target")
	link := func(name, to string) string {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}

	refused := []string{mkdir(t, 0o777, root, "open"), link("to open", filepath.Join(root, "open"))}
	who := stranger()
	who.Drop = os.Geteuid() == 0
	if who.Drop { // only root can play another user
		writeCluster(t, mkdir(t, 0o755, root, "cluster"))
		theirs := []string{
			link("link", target), link("dangling", filepath.Join(root, "nothing")),
			link("link to a cluster", filepath.Join(root, "cluster")),
			mkdir(t, 0o700, root, "folder"), mkdir(t, 0o700, root, "folder with data"),
			mkdir(t, 0o700, root, "folder with data", "data"),
		}
		for _, path := range theirs {
			if err := os.Lchown(path, 65533, 65533); err != nil {
				t.Fatal(err)
			}
		}
		refused = append(append(refused, theirs[:5]...), link("to their folder", filepath.Join(root, "folder")))
	}

	for _, wanted := range refused {
		if dir, _, err := localpg.ChooseDir(wanted, who, filepath.Join(root, "fallback")); err == nil {
			t.Errorf("%s: got %s", wanted, dir)
		}
		if dir, found, err := localpg.Locate(wanted); found || err == nil {
			t.Errorf("%s: located %s, %v", wanted, dir, err)
		}

		// Put there after the folder was chosen.
		cluster := localpg.Cluster{Dir: wanted, RunsAs: who}
		err := cluster.Init(testContext(t))
		if !cluster.Exists() && (err == nil || strings.Contains(err.Error(), "initdb")) {
			t.Errorf("%s: a cluster was made in it: %v", wanted, err)
		}
	}

	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("where a link leads is now %v, %v", info, err)
	}
	if got := mustChooseDir(t, link("ours", target), who); got != target {
		t.Errorf("our own link leads to %s", got)
	}
}

// Installing Postgres later adds a user postgres: the former cluster then belongs to
// nobody, and so does its folder.
func TestChooseDirServesAClusterInAFolderOfItsOwner(t *testing.T) {
	t.Parallel()
	wanted := filepath.Join(newFolder(t), "pg")
	writeCluster(t, wanted)

	want := os.Geteuid()
	if want == 0 {
		want = 65533
		for _, path := range []string{wanted, filepath.Join(wanted, "data")} {
			if err := os.Chown(path, want, want); err != nil {
				t.Fatal(err)
			}
		}
	}

	if dir, who, err := localpg.ChooseDir(wanted, stranger()); err != nil || dir != wanted || who.UID != want {
		t.Errorf("got %s, %+v, %v; want user %d", dir, who, err, want)
	}
}

// writeCluster makes the file that marks a data directory.
func writeCluster(t *testing.T, dir string) {
	t.Helper()
	data := mkdir(t, 0o755, dir, "data")
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}
