// Package use uses a skeleton of a generated source.
package use

import _ "example.com/goldens/generated/from_made"
