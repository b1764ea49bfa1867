package gazelle

import (
	"github.com/bazel-contrib/bazel-gazelle/v2/config"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
)

// Fix repairs uses of rules as they were in earlier releases. No rule and no
// attribute has been renamed since the first one.
func (*bpfLang) Fix(*config.Config, *rule.File) {}
