package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
)

// checkPinDirectory returns an error unless maps can be pinned in a directory.
func checkPinDirectory(dir string) error {
	is, err := kernelfs.IsBPFFS(dir)
	if err == nil && !is {
		err = errors.New("is not of a bpffs")
	}
	if err == nil {
		return nil
	}
	remedy := fmt.Sprintf("`mount -t bpf bpf %s` as root, or choose another directory as the pin root", dir)
	if errors.Is(err, fs.ErrNotExist) {
		remedy = "make the directory in a bpffs, as root, or choose another one as the pin root"
	}
	return fmt.Errorf("is to be pinned, and %s: %w: %s", dir, err, remedy)
}

// checkIsMap returns an error when the descriptor, which is of an object of BPF, is not of a
// map.
func checkIsMap(fd int) error {
	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err == nil && name != "anon_inode:bpf-map" {
		return errors.New("it is not a map")
	}
	return nil
}
