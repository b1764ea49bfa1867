// Package diamond uses objects that share libraries.
package diamond

import (
	_ "example.com/goldens/diamond/base"
	_ "example.com/goldens/diamond/edge"
	_ "example.com/goldens/diamond/second"
)
