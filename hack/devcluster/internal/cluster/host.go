package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/config"
	"github.com/sampan-dev/sampan/hack/devcluster/internal/proc"
)

// binds are folders whose paths are fixed in the programs. In the cluster's own
// mount namespace they are folders of the cluster; other programs of the machine
// keep theirs.
var binds = []struct{ point, folder string }{
	{"/run/containerd", "run/containerd"},
	{"/var/lib/kubelet", "kubelet"},
	{"/var/lib/cni", "cni"},
	{"/var/log/containers", "logs/containers"},
}

// sysctls are the kernel settings that the kubelet changes without asking.
var sysctls = []string{
	"vm/overcommit_memory", "vm/panic_on_oom",
	"kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// run runs a program of the machine and returns what it printed.
func run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// makeMountPoints creates those of the fixed folders that the machine lacks, and
// returns the ones it created.
func makeMountPoints() ([]string, error) {
	var made []string
	for _, bind := range binds {
		if _, err := os.Stat(bind.point); err == nil {
			continue
		}
		if err := os.MkdirAll(bind.point, 0o755); err != nil {
			return made, fmt.Errorf("creating mount point: %w", err)
		}
		made = append(made, bind.point)
	}
	return made, nil
}

// anchorScript sets up the mount namespace that it finds itself in and becomes
// the program that holds it. Mounts of the machine still appear inside, nothing
// inside appears outside, and pods may share mounts with each other.
const anchorScript = `
mount --make-rslave /
mount --make-rshared /
while [ "$1" != -- ]; do mount --bind "$2" "$1"; shift 2; done
shift
exec "$@"`

// startAnchor starts the process that holds the cluster's mount namespace. When
// the last process in it ends, so do all its mounts, and with them the network
// namespaces of the pods and their links.
func startAnchor(v config.Values, cgroupProcs string) (proc.Identity, error) {
	args := []string{"--mount", "--propagation", "unchanged", "/bin/sh", "-euc", anchorScript, "sh"}
	for _, bind := range binds {
		args = append(args, bind.point, filepath.Join(v.NodeFolder(), bind.folder))
	}
	args = append(args, "--", filepath.Join(v.Bin, "pause"))
	return proc.Start(proc.Command{
		Path: "unshare", Args: args, Env: environment(v, "anchor"), Dir: v.State,
		Log: filepath.Join(v.Logs(), "anchor"+v.Node.Suffix+".log"), CgroupProcs: cgroupProcs,
	})
}

// waitAnchor waits until the mount namespace is complete: until its holder has
// become the program that does nothing.
func waitAnchor(ctx context.Context, v config.Values, anchor proc.Identity) error {
	err := proc.Poll(ctx, 5*time.Millisecond, func() (bool, error) {
		if !anchor.Alive() {
			return false, fmt.Errorf("it ended; see %s", filepath.Join(v.Logs(), "anchor"+v.Node.Suffix+".log"))
		}
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", anchor.PID))
		return err == nil && filepath.Base(program) == "pause", nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the mount namespace: %w", err)
	}
	return nil
}

// setUpNetwork makes the node's link, and lets pods out to where the machine
// itself may go.
func setUpNetwork(ctx context.Context, state string) error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("turning on forwarding: %w", err)
	}
	if _, err := net.InterfaceByName(config.Link); err != nil {
		// A bridge without ports, because not every kernel has the dummy type.
		if _, err := run(ctx, "", "ip", "link", "add", config.Link, "type", "bridge"); err != nil {
			return err
		}
	}
	if _, err := run(ctx, "", "ip", "address", "replace", config.NodeAddress+"/32", "dev", config.Link); err != nil {
		return err
	}
	if _, err := run(ctx, "", "ip", "link", "set", config.Link, "up", "alias", state); err != nil {
		return err
	}
	rules := fmt.Sprintf(`
table ip %[1]s {}
delete table ip %[1]s
table ip %[1]s {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr %[2]s ip daddr != { %[2]s, %[3]s } oifname != %[4]s masquerade
	}
}`, config.NFTable, config.PodCIDR, config.ServiceCIDR, config.Link)
	_, err := run(ctx, rules, "nft", "-f", "-")
	return err
}

// linkOwner is the folder of the cluster that the node's link belongs to; empty where
// there is no link.
func linkOwner() string {
	alias, err := os.ReadFile("/sys/class/net/" + config.Link + "/ifalias")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(alias))
}

// tearDownNetwork removes every link and rule of the cluster. The links of pods
// go with their network namespaces, which the kernel clears a moment after their
// last process; those that stay are removed by name.
func tearDownNetwork(ctx context.Context) error {
	brief, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_ = proc.Poll(brief, 20*time.Millisecond, func() (bool, error) {
		links, err := podLinks(ctx)
		return len(links) == 0, err
	})
	links, err := podLinks(ctx)
	if err != nil {
		return err
	}
	for _, link := range append(links, config.Link) {
		if _, err := net.InterfaceByName(link); err != nil {
			continue
		}
		if _, err := run(ctx, "", "ip", "link", "delete", link); err != nil {
			return err
		}
	}
	var rules strings.Builder
	for _, table := range []string{"ip " + config.NFTable, "ip kube-proxy", "ip6 kube-proxy"} {
		// Declaring it first makes deleting it succeed where there was none.
		fmt.Fprintf(&rules, "table %[1]s {}\ndelete table %[1]s\n", table)
	}
	_, err = run(ctx, rules.String(), "nft", "-f", "-")
	return err
}

// podLinks lists the links to which addresses of pods are routed.
func podLinks(ctx context.Context) ([]string, error) {
	out, err := run(ctx, "", "ip", "-4", "-oneline", "route", "show", "root", config.PodCIDR)
	if err != nil {
		return nil, err
	}
	return linksOfRoutes(out), nil
}

func linksOfRoutes(routes string) []string {
	var links []string
	for line := range strings.Lines(routes) {
		fields := strings.Fields(line)
		i := slices.Index(fields, "dev")
		if i >= 0 && i+1 < len(fields) && !slices.Contains(links, fields[i+1]) {
			links = append(links, fields[i+1])
		}
	}
	return links
}

// readSysctls returns those of the settings that this kernel has.
func readSysctls() map[string]string {
	values := map[string]string{}
	for _, name := range sysctls {
		if content, err := os.ReadFile(filepath.Join("/proc/sys", name)); err == nil {
			values[name] = strings.TrimSpace(string(content))
		}
	}
	return values
}

func restoreSysctls(values map[string]string) error {
	for name, value := range values {
		path := filepath.Join("/proc/sys", name)
		if now, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(now)) == value {
			continue
		}
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			return fmt.Errorf("restoring %s: %w", name, err)
		}
	}
	return nil
}

// unmountBelow unmounts whatever is mounted below a folder in the namespace of
// this process, the last mounted first. Normally there is nothing.
func unmountBelow(folder string) error {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("listing mounts: %w", err)
	}
	defer func() { _ = mounts.Close() }()
	var points []string
	lines := bufio.NewScanner(mounts)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && strings.HasPrefix(fields[4], folder+"/") {
			points = append(points, strings.ReplaceAll(fields[4], `\040`, " "))
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("listing mounts: %w", err)
	}
	for _, point := range slices.Backward(points) {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unmounting %s: %w", point, err)
		}
	}
	return nil
}

// podMTU is the packet size of the link that leads out of the machine.
func podMTU(ctx context.Context) int {
	const ethernet = 1500
	out, err := run(ctx, "", "ip", "-4", "-oneline", "route", "show", "default")
	if err != nil {
		return ethernet
	}
	for _, name := range linksOfRoutes(out) {
		if link, err := net.InterfaceByName(name); err == nil && link.MTU < ethernet {
			return link.MTU
		}
	}
	return ethernet
}

// upstream says whom CoreDNS asks about names outside of the cluster. A machine
// without a resolver gets one that refuses at once.
func upstream(resolvConf string) string {
	content, err := os.ReadFile(resolvConf)
	if err == nil {
		for line := range strings.Lines(string(content)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
				return resolvConf
			}
		}
	}
	return "127.0.0.1:9"
}
