// Package subfolders uses objects of directories below.
package subfolders

import (
	_ "example.com/goldens/subfolders/libs/deep/deep"
	_ "example.com/goldens/subfolders/progs/edge"
)
