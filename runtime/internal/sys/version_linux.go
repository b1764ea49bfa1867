package sys

import "golang.org/x/sys/unix"

// KernelRelease returns the release of the running kernel, as uname -r does.
func KernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}
