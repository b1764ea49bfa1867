package usdt

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Resolve sets the addresses that the locations in a file that is position independent have
// in the memory of a process, which must have mapped it.
func Resolve(pid int, path string, locations []Location) error {
	if pid == 0 {
		return fmt.Errorf("%s: is position independent: before kernel 5.15 a USDT in it needs the process: give one with option PID", path)
	}
	file, err := os.Stat(path)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("/proc/%d/maps", pid)
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	found := make([]bool, len(locations))
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// 7f00-7f10 r-xp 00002000 08:01 1234 /path
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || !strings.Contains(fields[1], "x") {
			continue
		}
		mapped, err := os.Stat(fmt.Sprintf("/proc/%d/map_files/%s", pid, fields[0]))
		if err != nil || !os.SameFile(file, mapped) {
			continue
		}
		first, last, _ := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(first, 16, 64)
		end, err2 := strconv.ParseUint(last, 16, 64)
		offset, err3 := strconv.ParseUint(fields[2], 16, 64)
		if err := errors.Join(err1, err2, err3); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for i := range locations {
			if p := &locations[i]; !found[i] && p.Offset >= offset && p.Offset-offset < end-start {
				p.IP, found[i] = start+p.Offset-offset, true
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if slices.Contains(found, false) {
		return fmt.Errorf("%s: process %d has not mapped it: attach after it has", path, pid)
	}
	return nil
}
