// Package bpfc finds out what a BPF C file defines and what it needs: programs,
// maps, functions and variables with their linkage, externs, includes, and the
// license. It knows nothing of Bazel.
//
// It works as a compiler's front end does, but stops where types begin:
//
//   - The lexer makes tokens of a file, with comments and line splices gone.
//   - The preprocessor evaluates conditionals and expands macros, with the
//     macros that the compiler's flags define. What a header of the kernel or of
//     libbpf would define and matters here (SEC, __weak, BPF_PROG, ...) it knows
//     without the header: see the prelude.
//   - The parser splits what comes out into external declarations, and finds in
//     each the declared names, storage class and attributes. Bodies of functions
//     and initialisers are searched for names only.
//   - What remains is the compiler's choice of what to put into the object: a
//     static function that nothing reaches is not in it, nor is an extern that
//     nothing uses.
//
// Headers are opened through a function of the caller, who decides which of them
// to show. vmlinux.h and the headers of the system need not be among them.
//
// The scanner is tolerant: what it does not understand it skips, and what cannot
// be C it reports in File.Problems and goes on. Time and memory are linear in the
// size of what it reads: macros and includes that grow beyond that are cut off.
package bpfc
