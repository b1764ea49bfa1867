// Main has a skeleton in its own package.
package main

import "fmt"

func main() {
	skel, err := Open()
	if err != nil {
		panic(err)
	}
	defer skel.Close()
	fmt.Println(skel.Data.Answer)
}
