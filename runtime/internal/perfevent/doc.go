// Package perfevent opens the perf events that programs of tracepoints, kprobes
// and uprobes are attached to.
package perfevent
