// Package use uses both.
package use

import (
	_ "example.com/goldens/both/of_object"
	_ "example.com/goldens/both/of_source"
)
