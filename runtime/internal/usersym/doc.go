// Package usersym finds programs and libraries of user space, and in them the functions that
// uprobes are attached to, as libbpf does.
//
// A file is named by its path, or by a name that is looked for where a shell or the dynamic
// linker would. The kernel takes offsets in files; symbols have addresses in memory, which a
// segment's program header turns into offsets. Both symbol tables count, .symtab and .dynsym. A
// name that several functions have means the one of the highest rank: of the default version
// before others, global before weak before local.
package usersym
