package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/felid-net/felid/datastore"
)

// checkEndpoints says whether they are reached by TLS, which all of them are or none.
func checkEndpoints(endpoints []string) (secure bool, err error) {
	if len(endpoints) == 0 {
		return false, fmt.Errorf("etcd: %w: no endpoint is given; valid: https://HOST:PORT, comma-separated", datastore.ErrInvalid)
	}
	schemes := map[string]bool{}
	for _, endpoint := range endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
			return false, fmt.Errorf("etcd: %w: %q is no endpoint; valid: https://HOST:PORT, or http://HOST:PORT", datastore.ErrInvalid, endpoint)
		}
		schemes[u.Scheme] = true
	}
	if len(schemes) > 1 {
		return false, fmt.Errorf("etcd: %w: some endpoints are https and some are http; valid: all of them https, or all http", datastore.ErrInvalid)
	}
	return schemes["https"], nil
}

// tlsConfig is how the store is told and what it is told; nil without TLS.
func tlsConfig(o *Options, secure bool) (*tls.Config, error) {
	switch {
	case !secure && (o.CertFile != "" || o.KeyFile != "" || o.CAFile != ""):
		return nil, fmt.Errorf("etcd: %w: certificates are given, and the endpoints are http; valid: https endpoints", datastore.ErrInvalid)
	case (o.CertFile == "") != (o.KeyFile == ""):
		return nil, fmt.Errorf("etcd: %w: a certificate and its key go together; valid: both, or none", datastore.ErrInvalid)
	case !secure:
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("etcd: CA: %w: %w", datastore.ErrInvalid, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("etcd: CA: %w: %s holds no certificate in PEM", datastore.ErrInvalid, o.CAFile)
		}
	}
	if o.CertFile != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
			return &pair, err
		}
		if _, err := load(); err != nil {
			return nil, fmt.Errorf("etcd: certificate: %w: %w", datastore.ErrInvalid, err)
		}
		// Anew for each connection: certificates are renewed in their place.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return c, nil
}
