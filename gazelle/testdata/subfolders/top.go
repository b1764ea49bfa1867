// Package subfolders uses objects of folders below.
package subfolders

import (
	_ "example.com/goldens/subfolders/libs/deep/deep"
	_ "example.com/goldens/subfolders/progs/edge"
)
