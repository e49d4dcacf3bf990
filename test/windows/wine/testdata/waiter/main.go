// Command waiter waits for SIGTERM, writing dots, and ends with the exit code that it is given; "build" prints the build of Windows instead.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if os.Args[1] == "build" {
		fmt.Println(build())
		return
	}
	code, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	fmt.Println("waiting")
	for {
		select {
		case s := <-signals:
			fmt.Println(s)
			os.Exit(code)
		case <-time.After(20 * time.Millisecond):
			fmt.Print(".")
		}
	}
}
