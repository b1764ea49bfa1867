// From_bpf2go prints how many packets it lets pass, and how many sizes it knows.
package main

import (
	"fmt"
	"log"

	"example.com/from_bpf2go/watch"
)

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target $GOARCH limit limit.c

func main() {
	limit, err := limit()
	if err != nil {
		log.Fatal(err)
	}
	small, big, err := watch.Entries()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(limit, small, big)
}

// limit returns a number of the object.
func limit() (n uint32, err error) {
	spec, err := loadLimit()
	if err != nil {
		return 0, err
	}
	err = spec.Variables["limit"].Get(&n)
	return n, err
}
