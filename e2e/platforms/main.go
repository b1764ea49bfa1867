// Platforms loads a program.
package main

import (
	"fmt"
	"os"

	"example.com/platforms/count"
)

func main() {
	skel, err := count.Open()
	if err == nil {
		defer skel.Close()
		err = skel.Load()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "platforms:", err)
		os.Exit(1)
	}
}
