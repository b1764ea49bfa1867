package gazelle

import (
	"github.com/bazelbuild/bazel-gazelle/config"
	"github.com/bazelbuild/bazel-gazelle/rule"
)

// Fix repairs uses of rules as they were in earlier releases. No rule and no
// attribute has been renamed since the first one.
func (*bpfLang) Fix(*config.Config, *rule.File) {}
