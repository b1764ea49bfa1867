package main

import "example.com/goldens/map_kind/edge"

func main() {
	if _, err := edge.Open(); err != nil {
		panic(err)
	}
}
