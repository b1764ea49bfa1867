package gazelle

import (
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
	"github.com/bazel-contrib/bazel-gazelle/v2/walk"

	"github.com/rules-bpf/rules_bpf/gazelle/bpfc"
)

const (
	// aheadFolders is how many folders files are scanned ahead, aheadFiles how many
	// files of them.
	aheadFolders = 32
	aheadFiles   = 256
)

// A lookahead has the files of the folders whose turn is next scanned while
// Gazelle, which works with one thread, is busy with this one. What it expects and
// does not come is only work in vain: the results are the same without it.
type lookahead struct {
	// visited is set once a folder was.
	visited bool
	// way has the folders from the root to the one that comes next, each with the
	// children that are still to come before it.
	way []aheadFolder
	// coming has the folders that come next, in order, passed those that came.
	coming, passed []aheadFolder
	pending        map[string]*pendingScan
	jobs           chan *pendingScan
}

type aheadFolder struct {
	rel            string
	subdirs, files []string
}

// A pendingScan is one that began before its folder's turn.
type pendingScan struct {
	name    string
	scanner *bpfc.Scanner
	root    string
	defines []string
	// taken is set by the one who scans the file. The others wait until it is done.
	taken atomic.Bool
	done  sync.WaitGroup
	file  *bpfc.File
	err   error
}

func (p *pendingScan) run() {
	if p.taken.CompareAndSwap(false, true) {
		p.file, p.err = scanFile(p.scanner, p.root, p.name, p.defines)
		p.done.Done()
	}
}

// take returns the scan of a file, done, or nil if none began before that is made
// in the same way.
func (a *lookahead) take(name string, scanner *bpfc.Scanner, defines []string) *pendingScan {
	p := a.pending[name]
	if p == nil {
		return nil
	}
	if p.scanner != scanner || !slices.Equal(p.defines, defines) {
		a.forget(name)
		return nil
	}
	delete(a.pending, name)
	p.run()
	p.done.Wait()
	return p
}

// forget makes sure that a file is not scanned any more if it has not been.
func (a *lookahead) forget(name string) {
	if p := a.pending[name]; p != nil {
		p.taken.Store(true)
		delete(a.pending, name)
	}
}

// stop ends the work.
func (a *lookahead) stop() {
	for _, p := range a.pending {
		p.taken.Store(true)
	}
	if a.jobs != nil {
		close(a.jobs)
	}
	*a = lookahead{}
}

// scanAhead begins to scan the files of the folders whose turn is next. A folder
// whose directives say other flags is scanned again.
func (l *bpfLang) scanAhead(c *config.Config, rel string) {
	if c.IndexLazy {
		return
	}
	a := &l.ahead
	for _, f := range a.passed {
		for _, name := range f.files {
			a.forget(path.Join(f.rel, name))
		}
	}
	at := slices.IndexFunc(a.coming, func(f aheadFolder) bool { return f.rel == rel })
	a.passed = append(a.passed[:0], a.coming[:at+1]...)
	a.coming = slices.Delete(a.coming, 0, at+1)
	switch {
	case at >= 0:
	case !a.visited:
		// It may be the only one.
		a.visited = true
		return
	default:
		a.passed = append(a.passed, a.coming...)
		a.coming = a.coming[:0]
		a.begin(rel)
	}
	// Many at once: to wake a thread takes as long as to scan a small file.
	if len(a.coming) > aheadFolders/2 {
		return
	}
	for len(a.coming) < aheadFolders && len(a.way) > 0 {
		a.next(l, c)
	}
}

// begin makes what follows a folder the next to come.
func (a *lookahead) begin(rel string) {
	a.way = a.way[:0]
	for rel != "" {
		up := parent(rel)
		info, err := walk.GetDirInfo(up)
		at, found := slices.BinarySearch(info.Subdirs, path.Base(rel))
		if err != nil || !found {
			a.way = a.way[:0]
			return
		}
		a.way = append(a.way, aheadFolder{rel: up, subdirs: info.Subdirs[at+1:], files: sourcesOf(info)})
		rel = up
	}
	slices.Reverse(a.way)
}

// next finds the folder that comes next. Gazelle visits a folder behind its children.
func (a *lookahead) next(l *bpfLang, c *config.Config) {
	for {
		f := &a.way[len(a.way)-1]
		if len(f.subdirs) == 0 {
			break
		}
		rel := path.Join(f.rel, f.subdirs[0])
		f.subdirs = f.subdirs[1:]
		if info, err := walk.GetDirInfo(rel); err == nil {
			a.way = append(a.way, aheadFolder{rel: rel, subdirs: info.Subdirs, files: sourcesOf(info)})
		}
	}
	f := a.way[len(a.way)-1]
	a.way = a.way[:len(a.way)-1]
	a.coming = append(a.coming, f)
	if len(f.files) == 0 {
		return
	}
	if a.jobs == nil {
		a.jobs = make(chan *pendingScan, aheadFiles)
		a.pending = make(map[string]*pendingScan)
		// One thread is Gazelle's own.
		for range max(1, min(runtime.GOMAXPROCS(0)-1, 4)) {
			go func(jobs <-chan *pendingScan) {
				for p := range jobs {
					p.run()
				}
			}(a.jobs)
		}
	}
	scanner, flags := l.scanner(c), defines(getConfig(c).copts)
	for _, name := range f.files {
		p := &pendingScan{name: path.Join(f.rel, name), scanner: scanner, root: c.RepoRoot, defines: flags}
		p.done.Add(1)
		select {
		case a.jobs <- p:
			a.pending[p.name] = p
		default:
			return
		}
	}
}

// sourcesOf returns what to scan of a folder. Where its own directives say whether
// or how, it is left until they are known.
func sourcesOf(info walk.DirInfo) []string {
	if info.File != nil && slices.ContainsFunc(info.File.Directives, func(d rule.Directive) bool {
		return d.Key == enableDirective || d.Key == coptsDirective || d.Key == searchDirective || d.Key == "ignore"
	}) {
		return nil
	}
	if !slices.ContainsFunc(info.RegularFiles, isSource) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(info.RegularFiles), func(name string) bool { return !isSource(name) })
}

func isSource(name string) bool { return strings.HasSuffix(name, sourceSuffix) }
