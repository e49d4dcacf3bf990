// Program oci writes one image for the nodes of both systems, as an OCI image layout in an archive (OCI image specification 1.1), without a
// container engine:
//
//	oci -linux bin/felid-image.tar -windows bin/windows-amd64 -out bin/felid-image-oci.tar
//
// The part for Linux is what build/image has made. That for Windows is for HostProcess containers alone, which run on the host's own files: one
// layer with felid's programs, and with the five registry hives without which Windows takes no layer for a base. The hives are valid and empty;
// Server 2025 refuses files that are not hives. So the image fits every release of Windows, and its index says so in both ways that
// containerd has understood: first without a version of Windows, then once for each release that felid knows.
//
// Invariant: the same programs give the same archive, byte for byte.
package main
