package main

import (
	"fmt"

	"example.com/goldens/one_object/edge"
)

func main() {
	skel, err := edge.Open()
	fmt.Println(skel, err)
}
