// Main prints the byte order of the object that is embedded in it.
package main

import "fmt"

func main() {
	spec, err := loadOrder()
	if err != nil {
		panic(err)
	}
	fmt.Println(spec.ByteOrder)
}
