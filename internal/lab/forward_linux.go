package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// reach makes addresses of this machine's loopback reachable under the same ones in a node.
func (l *Lab) reach(n *Node, addresses []string) error {
	for _, address := range addresses {
		if err := Forward(l.NodeSpace(n.Name), address); err != nil {
			return err
		}
	}
	return nil
}

// Forward takes connections to an address, HOST:PORT, within a namespace and carries them on to the same address outside of it, as long as
// this process lives. (The sockets, and so the namespace, stay until then, whoever removes its name.)
func Forward(space, address string) error {
	var listener net.Listener
	err := Within(space, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		return fmt.Errorf("listening on %s in %s: %w", address, space, err)
	}
	go func() {
		for {
			inside, err := listener.Accept()
			if err != nil {
				return
			}
			go carry(inside, address)
		}
	}()
	return nil
}

// carry joins a connection with a new one to an address, until either end closes.
func carry(inside net.Conn, address string) {
	defer inside.Close()
	outside, err := net.Dial("tcp", address)
	if err != nil {
		return // the caller sees its connection end
	}
	defer outside.Close()
	ended := make(chan error, 2)
	for _, way := range [][2]net.Conn{{inside, outside}, {outside, inside}} {
		go func() {
			_, err := io.Copy(way[0], way[1])
			ended <- errors.Join(err, way[0].Close())
		}()
	}
	<-ended
}
