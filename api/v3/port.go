package v3

// Protocol is a protocol by name or number, as written: "TCP", "tcp", 6. The zero value is none.
// +kubebuilder:validation:XIntOrString
// +kubebuilder:pruning:PreserveUnknownFields
type Protocol struct {
	// Name as written, "" where a number was.
	Name string
	// Number where one was written, else 0.
	Number uint8
}

// Port is a number, a range "a:b", or the name of a port.
// +kubebuilder:validation:XIntOrString
type Port struct {
	// Name of a port of the endpoint; then Min and Max are 0.
	Name string
	// Min and Max are inclusive, equal for a single number.
	Min, Max uint16
}
