package emulator

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// schema1 does an HNSCall: a method, a path and an object, as with HTTP. It always answers in JSON.
func (s *Server) schema1(method, path, text string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch parts[0] {
	case "globals":
		return good(fields{"Major": s.version.Major, "Minor": s.version.Minor})
	case "accelnet":
		return s.accel(method, text)
	case "endpointstats":
		return good(fields{"EndpointId": parts[len(parts)-1]})
	case "networks":
		return s.rest(method, parts, hns.KindNetwork, text)
	case "endpoints":
		return s.rest(method, parts, hns.KindEndpoint, text)
	}
	return bad("Invalid path " + path)
}

func (s *Server) accel(method, text string) string {
	switch method {
	case "POST":
		s.accelnet = json.RawMessage(text)
	case "DELETE":
		s.accelnet = nil
	}
	if s.accelnet == nil {
		return good(fields{})
	}
	return good(s.accelnet)
}

func (s *Server) rest(method string, parts []string, kind hns.Kind, text string) string {
	var body fields
	_ = json.Unmarshal([]byte(text), &body) // there may be none
	if len(parts) == 1 {
		return s.collection(method, kind, text, str(body, "VirtualNetwork"))
	}
	o, err := s.find(kind, parts[1])
	if err != nil {
		return bad("Element not found.")
	}
	switch {
	case method == "GET" && len(parts) == 2:
		return good(s.toSchema1(o))
	case method == "DELETE" && len(parts) == 2:
		was := s.toSchema1(o)
		s.remove(o)
		return good(was)
	case method == "POST" && len(parts) == 2:
		return s.replace(o, body)
	case method == "POST" && parts[2] == "attach" && kind == hns.KindEndpoint:
		o.state = hns.StateAttached
		return good(fields{"Success": true})
	case method == "POST" && parts[2] == "detach" && kind == hns.KindEndpoint:
		o.state = hns.StateDetached
		return good(fields{"Success": true})
	}
	return bad("Unsupported " + method + " " + strings.Join(parts, "/"))
}

func (s *Server) collection(method string, kind hns.Kind, text, parent string) string {
	switch method {
	case "GET":
		list := []any{}
		for _, o := range s.shelves[kind].all() {
			list = append(list, s.toSchema1(o))
		}
		return good(list)
	case "POST":
		a, err := s.create(kind, "", parent, text)
		if err != nil {
			return bad(err.message())
		}
		return good(s.toSchema1(s.shelves[kind].byID[a.id]))
	}
	return bad("Unsupported " + method)
}

// replace gives an object the policies of a request, instead of all that it has.
func (s *Server) replace(o *object, body fields) string {
	var list []fields
	for _, p := range items(body, "Policies") {
		p = policyToSchema2(p)
		if err := s.checkPolicy(o.kind, p); err != nil {
			return bad(err.message())
		}
		list = append(list, p)
	}
	if err := s.enforce(o, "Update", list, list); err != nil {
		return bad(err.message())
	}
	o.setPolicies(list)
	return good(s.toSchema1(o))
}

func good(output any) string {
	text, _ := json.Marshal(fields{"Success": true, "Output": output})
	return string(text)
}

func bad(message string) string {
	text, _ := json.Marshal(fields{"Success": false, "Error": message})
	return string(text)
}

// toSchema2 turns what a caller of schema 1 wants to create.
func toSchema2(kind hns.Kind, f fields) fields {
	out := fields{"SchemaVersion": fields{"Major": 2, "Minor": 0}}
	for _, name := range []string{"ID", "Name", "Type", "MacAddress", "Flags"} {
		if v, ok := f[name]; ok {
			out[name] = v
		}
	}
	switch kind {
	case hns.KindNetwork:
		subnets := []any{}
		for _, sn := range items(f, "Subnets") {
			route := fields{"NextHop": sn["GatewayAddress"], "DestinationPrefix": "0.0.0.0/0"}
			subnets = append(subnets, fields{"IpAddressPrefix": sn["AddressPrefix"], "Routes": []any{route}, "Policies": sn["Policies"]})
		}
		out["Ipams"] = []any{fields{"Type": "Static", "Subnets": subnets}}
		if pools, _ := f["MacPools"].([]any); len(pools) > 0 {
			out["MacPool"] = fields{"Ranges": pools}
		}
	case hns.KindEndpoint:
		if a := str(f, "IPAddress"); a != "" {
			out["IpConfigurations"] = []any{fields{"IpAddress": a, "PrefixLength": f["PrefixLength"]}}
		}
		var policies []fields
		for _, p := range items(f, "Policies") {
			policies = append(policies, policyToSchema2(p))
		}
		out["Policies"] = anys(policies)
	}
	return out
}

// policyToSchema2 moves the settings, which schema 1 has beside the type, into a field of their own.
func policyToSchema2(p fields) fields {
	settings := maps.Clone(p)
	delete(settings, "Type")
	return fields{"Type": p["Type"], "Settings": settings}
}

func (s *Server) toSchema1(o *object) fields {
	out := fields{"ID": o.id, "Name": o.fields["Name"]}
	if o.kind == hns.KindNetwork {
		out["Type"] = o.fields["Type"]
		subnets := []any{}
		for _, ipam := range items(o.fields, "Ipams") {
			for _, sn := range items(ipam, "Subnets") {
				gateway := ""
				for _, r := range items(sn, "Routes") {
					gateway = str(r, "NextHop")
				}
				subnets = append(subnets, fields{"AddressPrefix": sn["IpAddressPrefix"], "GatewayAddress": gateway})
			}
		}
		out["Subnets"] = subnets
		return out
	}
	out["VirtualNetwork"] = o.network()
	if n := s.shelves[hns.KindNetwork].byID[o.network()]; n != nil {
		out["VirtualNetworkName"] = n.fields["Name"]
	}
	out["MacAddress"] = o.fields["MacAddress"]
	for _, c := range items(o.fields, "IpConfigurations")[:min(1, len(items(o.fields, "IpConfigurations")))] {
		out["IPAddress"], out["PrefixLength"] = c["IpAddress"], c["PrefixLength"]
	}
	out["State"] = int(o.state)
	out["Policies"] = policiesToSchema1(o.policies())
	return out
}

func policiesToSchema1(list []fields) []any {
	out := []any{}
	for _, p := range list {
		flat := fields{}
		maps.Copy(flat, child(p, "Settings"))
		flat["Type"] = p["Type"]
		out = append(out, flat)
	}
	return out
}
