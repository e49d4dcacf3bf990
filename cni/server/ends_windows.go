package server

import "github.com/felid-net/felid/dataplane_windows/hns"

func hostHNS() *hns.Client { return hns.NewClient(hns.Open()) }
