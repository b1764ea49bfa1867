// Httpcache is a remote cache for Bazel that keeps all in memory, for tests. It listens on
// loopback, and writes its address to standard output.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "httpcache:", err)
		os.Exit(1)
	}
	fmt.Printf("http://%s\n", l.Addr())
	fmt.Fprintln(os.Stderr, "httpcache:", http.Serve(l, &cache{}))
	os.Exit(1)
}

// cache has what was put by its path, /ac/... and /cas/....
type cache struct{ files sync.Map }

func (c *cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		data, ok := c.files.Load(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(data.([]byte))
	case http.MethodPut:
		data, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.files.Store(r.URL.Path, data)
	default:
		http.Error(w, "want GET, HEAD or PUT", http.StatusMethodNotAllowed)
	}
}
