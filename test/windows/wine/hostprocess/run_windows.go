package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	kernel32           = windows.NewLazySystemDLL("kernel32.dll")
	ctrlRoutine        = kernel32.NewProc("CtrlRoutine")
	createRemoteThread = kernel32.NewProc("CreateRemoteThread")
)

const ctrlShutdown = 6 // CTRL_SHUTDOWN_EVENT

func run(program string, args []string) (int, error) {
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	h, err := windows.OpenProcess(windows.PROCESS_ALL_ACCESS, false, uint32(cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("opening the program: %w", err)
	}
	if err := putInJob(h); err != nil {
		return 0, errors.Join(err, cmd.Process.Kill())
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end, however it comes, says stop
		if err := shutDown(h); err != nil {
			fmt.Fprintln(os.Stderr, "hostprocess: stopping the program:", err)
		}
	}()
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// putInJob makes the program end when the last handle of the job is closed: with this process.
func putInJob(h windows.Handle) error {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return fmt.Errorf("making a job: %w", err)
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err != nil {
		return fmt.Errorf("limits of the job: %w", err)
	}
	if err := windows.AssignProcessToJobObject(job, h); err != nil {
		return fmt.Errorf("the program's job: %w", err)
	}
	return nil
}

func shutDown(h windows.Handle) error {
	if err := ctrlRoutine.Find(); err != nil {
		return err
	}
	thread, _, err := createRemoteThread.Call(uintptr(h), 0, 0, ctrlRoutine.Addr(), ctrlShutdown, 0, 0)
	if thread == 0 {
		return fmt.Errorf("CreateRemoteThread: %w", err)
	}
	return windows.CloseHandle(windows.Handle(thread))
}
