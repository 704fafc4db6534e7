package tlsmgr

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// An execSolver answers dns-01 by a command of the operator's.
type execSolver struct{ ExecConfig }

// Present implements acmez.Solver.
func (s execSolver) Present(ctx context.Context, c acme.Challenge) error {
	return s.run(ctx, "present", c)
}

// CleanUp implements acmez.Solver.
func (s execSolver) CleanUp(ctx context.Context, c acme.Challenge) error {
	return s.run(context.WithoutCancel(ctx), "cleanup", c)
}

// run runs the command without a shell, in an empty environment but for PATH and HOME. What it prints is not kept.
func (s execSolver) run(ctx context.Context, action string, c acme.Challenge) error {
	ctx, cancel := context.WithTimeout(ctx, s.commandTimeout())
	defer cancel()
	args := append(append([]string{}, s.Command[1:]...), action, c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
	cmd := exec.CommandContext(ctx, s.Command[0], args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}
	cmd.WaitDelay = time.Second // for what the command has started and left behind
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("tls.acme.dns.exec: %q %s took longer than %v", s.Command[0], action, s.commandTimeout())
		}
		return fmt.Errorf("tls.acme.dns.exec: %q %s: %w", s.Command[0], action, err)
	}
	return nil
}
